// Attention inside segments of a packed row, bf16 on AMX: exponentials and their sums are fp32.
#include <stdlib.h>
#include <string.h>

#include "attention.h"
#include "tiles.h"

enum { QUERIES = 2 * TILE };  // of a head at a time

typedef struct {
    bf16 *keys, *values, *queries, *weights;
    float *scores, *sums;
    int64_t stride;  // of scores and weights
} Scratch;

typedef struct {
    int own, prompt;                // numbers of queries, and of keys before theirs
    const bf16 *query;              // the first of one head
    bf16 *out;
} Part;

// Sums of exponentials that tell enough where no maximum was taken off: bf16 cannot hold what is below 2^-66
// of them, and they times a value overflow nowhere.
static const float LEAST_SUM = 0x1p-60f, MOST_SUM = 0x1p100f;

static inline int lesser(int a, int b) { return a < b ? a : b; }

// Of 16 rows of 16 pairs, the pairs of each column side by side.
WIDE INLINE void transpose(__m512i r[LANES]) {
    __m512i t[LANES];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
        r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
    }
}

// Row `i` of what a segment sees: the prompt's, then its own.
INLINE const bf16 *seen_row(const Heads *rows, const int32_t *segment, int64_t head, int i) {
    int prompt = segment[3] - segment[2];
    int64_t row = i < prompt ? segment[2] + i : segment[0] + i - prompt;
    return rows->first + row * rows->row + head * rows->head;
}

// Keys as tiles: [keys / 16][head_dim / 32][16 pairs of columns][16 keys][2].
WIDE static void pack_keys(const Attention *a, const int32_t *segment, int64_t head, int seen, bf16 *packed) {
    for (int key = 0; key < seen; key += TILE)
        for (int at = 0; at < a->head_dim; at += TERMS, packed += TILE_SIZE) {
            __m512i rows[TILE];
            for (int i = 0; i < TILE; i++)
                rows[i] = key + i < seen ? _mm512_loadu_si512(seen_row(&a->key, segment, head, key + i) + at)
                                         : _mm512_setzero_si512();
            transpose(rows);
            for (int i = 0; i < TILE; i++) _mm512_storeu_si512(packed + i * TERMS, rows[i]);
        }
}

WIDE INLINE __m512i sixteen(const bf16 *from) {
    return from ? _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from)) : _mm512_setzero_si512();
}

// Values as tiles: [keys / 32][head_dim / 16][16 pairs of keys][16 columns][2].
WIDE static void pack_values(const Attention *a, const int32_t *segment, int64_t head, int seen, bf16 *packed) {
    for (int key = 0; key < seen; key += TERMS, packed += a->head_dim * TERMS)
        for (int pair = 0; pair < TILE; pair++) {
            int i = key + 2 * pair;
            const bf16 *even = i < seen ? seen_row(&a->value, segment, head, i) : NULL;
            const bf16 *odd = i + 1 < seen ? seen_row(&a->value, segment, head, i + 1) : NULL;
            for (int at = 0; at < a->head_dim; at += TILE) {
                __m512i low = sixteen(even ? even + at : NULL), high = sixteen(odd ? odd + at : NULL);
                _mm512_storeu_si512(packed + at * TERMS + pair * TERMS,
                                    _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
            }
        }
}

// Queries of a block as tiles are read: where they lie if it is whole, else packed with zeros after the last.
typedef struct {
    const bf16 *first;
    int64_t row, chunk, tile;  // strides: of a query, of 32 columns, of 16 queries
} Queries;

// [2][head_dim / 32][16 queries][32 columns].
WIDE static Queries block_of(const Attention *a, const bf16 *query, int num, bf16 *packed) {
    if (num == QUERIES) return (Queries){query, a->query.row, TERMS, TILE * a->query.row};
    for (int i = 0; i < QUERIES; i++)
        for (int at = 0; at < a->head_dim; at += TERMS) {
            int64_t tile = i / TILE * (a->head_dim / TERMS) + at / TERMS;
            __m512i row = i < num ? _mm512_loadu_si512(query + i * a->query.row + at) : _mm512_setzero_si512();
            _mm512_storeu_si512(packed + tile * TILE_SIZE + i % TILE * TERMS, row);
        }
    return (Queries){packed, TERMS, TILE_SIZE, a->head_dim * TILE};
}

// Scores of the queries with tiles of keys from `from` to `to`.
TILES static void score(const Scratch *s, const Queries *queries, int64_t chunks, int from, int to) {
    for (int tile = from; tile < to; tile++) {
        const bf16 *key = s->keys + tile * chunks * TILE_SIZE, *query = queries->first;
        _tile_zero(0);
        _tile_zero(1);
        for (int64_t i = 0; i < chunks; i++, key += TILE_SIZE, query += queries->chunk) {
            _tile_loadd(4, query, queries->row * 2);
            _tile_loadd(5, query + queries->tile, queries->row * 2);
            _tile_loadd(6, key, 64);
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(1, 5, 6);
        }
        _tile_stored(0, s->scores + tile * TILE, s->stride * 4);
        _tile_stored(1, s->scores + tile * TILE + TILE * s->stride, s->stride * 4);
    }
}

// Sums [QUERIES, head_dim] of the values, 32 keys at a time from `from` to `to`, each times its weight.
TILES static void weigh(const Scratch *s, int64_t head_dim, int from, int to) {
    for (int64_t column = 0; column < head_dim; column += 2 * TILE) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        for (int i = from; i < to; i++) {
            const bf16 *value = s->values + (i * head_dim + column) * TERMS;
            _tile_loadd(4, s->weights + i * TERMS, s->stride * 2);
            _tile_loadd(5, s->weights + i * TERMS + TILE * s->stride, s->stride * 2);
            _tile_loadd(6, value, 64);
            _tile_loadd(7, value + TILE_SIZE, 64);
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(1, 4, 7);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
        float *sums = s->sums + column;
        _tile_stored(0, sums, head_dim * 4);
        _tile_stored(1, sums + TILE, head_dim * 4);
        _tile_stored(2, sums + TILE * head_dim, head_dim * 4);
        _tile_stored(3, sums + TILE * head_dim + TILE, head_dim * 4);
    }
}

// Scores [begin, end) to cap * tanh(score * scale / cap).
WIDE static void cap_scores(float *scores, int begin, int end, float scale, float cap) {
    for (int i = begin & -LANES; i < end; i += LANES) {
        __m512 inner = _mm512_mul_ps(_mm512_loadu_ps(scores + i), _mm512_set1_ps(scale / cap));
        _mm512_storeu_ps(scores + i, _mm512_mul_ps(tanh_of(inner), _mm512_set1_ps(cap)));
    }
}

// Of the 16 from `at`, those that begin and end leave.
INLINE __mmask16 within(int at, int begin, int end) {
    return left(at, end) & (at >= begin ? 0xffff : (__mmask16)(0xffffu << (begin - at)));
}

// Weights [begin, end) are 2^(score * factor - shift); answers their sum.
WIDE static float exponentials(const float *scores, bf16 *weights, int begin, int end, float factor, float shift) {
    const __m512 by = _mm512_set1_ps(factor), off = _mm512_set1_ps(shift);
    __m512 sum = _mm512_setzero_ps(), more = sum;
    for (int i = begin & -LANES; i < end;) {
        __m512 e = exp2_of(_mm512_fmsub_ps(_mm512_loadu_ps(scores + i), by, off));
        if (i < begin || i + 2 * LANES > end) {
            e = _mm512_maskz_mov_ps(within(i, begin, end), e);
            sum = _mm512_add_ps(sum, e);
            store(weights + i, e);
            i += LANES;
            continue;
        }
        __m512 next = exp2_of(_mm512_fmsub_ps(_mm512_loadu_ps(scores + i + LANES), by, off));
        sum = _mm512_add_ps(sum, e);
        more = _mm512_add_ps(more, next);
        _mm512_storeu_si512(weights + i, (__m512i)_mm512_cvtne2ps_pbh(next, e));
        i += 2 * LANES;
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(sum, more));
}

WIDE static float most_of(const float *scores, int begin, int end) {
    __m512 least = _mm512_set1_ps(-__builtin_inff()), most = least;
    for (int i = begin & -LANES; i < end; i += LANES)
        most = _mm512_max_ps(most, _mm512_mask_loadu_ps(least, within(i, begin, end), scores + i));
    return _mm512_reduce_max_ps(most);
}

// Weights of one query's keys in [begin, end), and zeros up to the ends of their tiles, [from, to).
WIDE static float softmax(const Attention *a, float *scores, bf16 *weights, int begin, int end, int from, int to) {
    float scale = a->scale;
    if (a->softcap > 0) {
        cap_scores(scores, begin, end, scale, a->softcap);
        scale = 1;
    }
    float factor = scale * 1.44269504f;
    float sum = exponentials(scores, weights, begin, end, factor, 0);
    if (!(sum >= LEAST_SUM && sum <= MOST_SUM))
        sum = exponentials(scores, weights, begin, end, factor, most_of(scores, begin, end) * factor);
    for (int i = from; i < (begin & -LANES); i += LANES) store(weights + i, _mm512_setzero_ps());
    for (int i = (end + LANES - 1) & -LANES; i < to; i += LANES) store(weights + i, _mm512_setzero_ps());
    return sum;
}

// Queries of one head from `first` on, QUERIES of them at most.
WIDE static void attend_block(const Attention *a, const Part *part, int first, const Scratch *s) {
    int seen = part->prompt + part->own, place = part->prompt + first;
    int num = lesser(part->own - first, QUERIES), window = a->window && a->window < seen ? a->window : seen;
    int begin = place + 1 > window ? place + 1 - window : 0;
    int end = lesser(seen, place + num + (a->is_causal ? 0 : window - 1));
    int from = begin / TERMS, to = (end + TERMS - 1) / TERMS;
    float sums[QUERIES];
    Queries queries = block_of(a, part->query + first * a->query.row, num, s->queries);
    score(s, &queries, a->head_dim / TERMS, 2 * from, (end + TILE - 1) / TILE);
    for (int i = 0; i < num; i++) {
        int at = place + i, own_begin = at + 1 > window ? at + 1 - window : 0;
        int own_end = lesser(seen, at + (a->is_causal ? 1 : window));
        sums[i] = softmax(a, s->scores + i * s->stride, s->weights + i * s->stride, own_begin, own_end,
                          from * TERMS, to * TERMS);
    }
    weigh(s, a->head_dim, from, to);
    for (int i = 0; i < num; i++) {
        __m512 by = _mm512_set1_ps(1 / sums[i]);
        for (int at = 0; at < a->head_dim; at += LANES)
            store(part->out + (first + i) * a->out.row + at,
                  _mm512_mul_ps(by, _mm512_loadu_ps(s->sums + i * a->head_dim + at)));
    }
}

WIDE static void attend_segment(const Attention *a, const int32_t *segment, const Scratch *s) {
    Part part = {.own = segment[1] - segment[0], .prompt = segment[3] - segment[2]};
    int64_t row = segment[0] - a->earlier;
    for (int64_t head = a->first_head; head < a->last_head; head++) {
        pack_keys(a, segment, head, part.prompt + part.own, s->keys);
        pack_values(a, segment, head, part.prompt + part.own, s->values);
        for (int64_t group = 0; group < a->groups; group++) {
            part.query = a->query.first + row * a->query.row + head * a->query.head + group * a->query.group;
            part.out = a->out.first + row * a->out.row + head * a->out.head + group * a->out.group;
            for (int first = 0; first < part.own; first += QUERIES) attend_block(a, &part, first, s);
        }
    }
}

static int64_t most_seen(const Attention *a) {
    int64_t most = 0;
    for (int64_t i = 0; i < a->num_segments; i++) {
        const int32_t *s = a->segments + 4 * i;
        int64_t seen = s[1] - s[0] + s[3] - s[2];
        if (seen > most) most = seen;
    }
    return most;
}

// Numbers of bytes below are multiples of 64, as aligned_alloc wants. Answers 0, or -1: out of memory.
TILES EXPORT int guerdon_attend(const Attention *a) {
    int64_t keys = (most_seen(a) + TERMS - 1) / TERMS * TERMS;
    int64_t stride = keys + TERMS;  // else rows could lie in few sets of the cache
    int64_t sizes[] = {keys * a->head_dim * 2, keys * a->head_dim * 2, QUERIES * a->head_dim * 2,
                       QUERIES * stride * 2,   QUERIES * stride * 4,   QUERIES * a->head_dim * 4};
    int64_t total = 0;
    for (int i = 0; i < 6; i++) total += sizes[i];
    char *memory = aligned_alloc(64, total);
    if (!memory) return -1;
    void *parts[6] = {memory};
    for (int i = 1; i < 6; i++) parts[i] = (char *)parts[i - 1] + sizes[i - 1];
    Scratch s = {parts[0], parts[1], parts[2], parts[3], parts[4], parts[5], stride};
    memset(s.weights, 0, sizes[3]);
    TileShapes before = tiles_begin();
    for (int64_t i = 0; i < a->num_segments; i++) attend_segment(a, a->segments + 4 * i, &s);
    tiles_end(&before);
    free(memory);
    return 0;
}
