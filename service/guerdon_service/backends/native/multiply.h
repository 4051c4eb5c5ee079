// Products of bf16 rows, or of uint8 ones, with a weight; what follows a product is done on its sums in fp32.
//
// uint8 rows and int8 weights go two to a bf16's place: `inputs` and strides count those.
#pragma once
#include <string.h>

#include "tiles.h"

enum { BLOCK = 2 * TILE };  // rows and outputs at a time: four tiles of sums

// What follows: mirrored in steps.py.
enum { PLAIN, GELU, PLUS, SILU_GATED, GELU_TANH_GATED, GELU_UINT8 };

typedef struct {
    Rows rows;           // [num_rows, inputs]
    Rows other;          // as `out`, for PLUS
    Rows out;            // [num_rows, outputs], or half as many columns where gates are among them
    const bf16 *weight;  // as guerdon_pack_weight leaves it
    const float *bias;   // [outputs]
    int64_t num_rows, inputs, outputs;
    const float *scales;       // [outputs]: of sums of int8; NULL where rows are bf16
    float out_scale, out_zero;  // GELU_UINT8 answers gelu * out_scale + out_zero
} Product;

// x Phi(x). Phi is a minimax polynomial between -4 and 4, 1.3e-5 off at most; beyond, 3e-5.
WIDE INLINE __m512 gelu(__m512 x) {
    x = _mm512_max_ps(_mm512_set1_ps(-4.0f), x);  // the second is handed on where it is NaN
    __m512 z = _mm512_min_ps(_mm512_set1_ps(4.0f), x);
    __m512 u = _mm512_mul_ps(_mm512_mul_ps(z, z), _mm512_set1_ps(0.0625f));
    __m512 p = _mm512_set1_ps(2.894984471e-1f);
    p = _mm512_fmadd_ps(p, u, _mm512_set1_ps(-1.628575807f));
    p = _mm512_fmadd_ps(p, u, _mm512_set1_ps(4.095063837f));
    p = _mm512_fmadd_ps(p, u, _mm512_set1_ps(-6.145289641f));
    p = _mm512_fmadd_ps(p, u, _mm512_set1_ps(6.222006905f));
    p = _mm512_fmadd_ps(p, u, _mm512_set1_ps(-4.558259325f));
    p = _mm512_fmadd_ps(p, u, _mm512_set1_ps(2.512845169f));
    p = _mm512_fmadd_ps(p, u, _mm512_set1_ps(-1.061178071f));
    p = _mm512_fmadd_ps(p, u, _mm512_set1_ps(3.988810137e-1f));
    return _mm512_mul_ps(x, _mm512_fmadd_ps(z, p, _mm512_set1_ps(0.5f)));
}

WIDE INLINE __m512 silu(__m512 x) {
    return _mm512_mul_ps(x, logistic2(_mm512_mul_ps(x, _mm512_set1_ps(-1.44269504f))));
}

// x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), which is x times a logistic function of twice that.
WIDE INLINE __m512 gelu_tanh(__m512 x) {
    __m512 square = _mm512_mul_ps(x, x);
    __m512 inner = _mm512_fmadd_ps(square, _mm512_set1_ps(-0.102943240f), _mm512_set1_ps(-2.302208198f));
    return _mm512_mul_ps(x, logistic2(_mm512_mul_ps(x, inner)));
}

// The tile `to` plus a product of tiles; numbers of tiles are part of instructions.
#define ADD_PRODUCT(to, rows, weight)                         \
    do {                                                      \
        if (is_int8)                                          \
            _tile_dpbusd(to, rows, weight);                   \
        else                                                  \
            _tile_dpbf16ps(to, rows, weight);                 \
    } while (0)

// Sums [BLOCK][BLOCK] of a block of rows with a block of outputs: fp32, or int32 of int8.
TILES INLINE void multiply_block(const Rows *rows, int64_t inputs, const bf16 *weight, float *sums, int is_int8) {
    const bf16 *from = rows->first;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t i = 0; i < inputs; i += TERMS, from += rows->chunk, weight += 2 * TILE_SIZE) {
        _tile_loadd(4, from, rows->row * 2);
        _tile_loadd(6, weight, 64);
        _tile_loadd(7, weight + TILE_SIZE, 64);
        ADD_PRODUCT(0, 4, 6);
        ADD_PRODUCT(1, 4, 7);
        _tile_loadd(5, from + TILE * rows->row, rows->row * 2);
        ADD_PRODUCT(2, 5, 6);
        ADD_PRODUCT(3, 5, 7);
    }
    _tile_stored(0, sums, BLOCK * 4);
    _tile_stored(1, sums + TILE, BLOCK * 4);
    _tile_stored(2, sums + TILE * BLOCK, BLOCK * 4);
    _tile_stored(3, sums + TILE * BLOCK + TILE, BLOCK * 4);
}

WIDE INLINE __m512 whole_sum(const Product *p, const float *sums, int64_t column, __m512 bias, int is_int8) {
    if (!is_int8) return _mm512_add_ps(_mm512_load_ps(sums), bias);
    __m512 whole = _mm512_cvtepi32_ps(_mm512_load_si512(sums));
    return _mm512_fmadd_ps(whole, _mm512_loadu_ps(p->scales + column), bias);
}

WIDE INLINE void finish_block(const Product *p, const float *sums, int64_t row, int num, int64_t column, int after,
                              int is_int8) {
    int is_narrow = after == SILU_GATED || after == GELU_TANH_GATED || after == GELU_UINT8;
    bf16 *out = at(&p->out, row, is_narrow ? column / 2 : column);
    const bf16 *other = after == PLUS ? at(&p->other, row, column) : NULL;
    __m512 bias = _mm512_loadu_ps(p->bias + column), more = _mm512_loadu_ps(p->bias + column + TILE);
    for (int i = 0; i < num; i++, sums += BLOCK, out += p->out.row) {
        __m512 x = whole_sum(p, sums, column, bias, is_int8);
        __m512 y = whole_sum(p, sums + TILE, column + TILE, more, is_int8);
        if (after == SILU_GATED || after == GELU_TANH_GATED) {
            store(out, _mm512_mul_ps(after == SILU_GATED ? silu(x) : gelu_tanh(x), y));
            continue;
        }
        if (after == GELU || after == GELU_UINT8) x = gelu(x), y = gelu(y);
        if (after == GELU_UINT8) {
            __m512 scale = _mm512_set1_ps(p->out_scale), zero = _mm512_set1_ps(p->out_zero);
            store_uint8((uint8_t *)out, _mm512_fmadd_ps(x, scale, zero), 0);
            store_uint8((uint8_t *)out + TILE, _mm512_fmadd_ps(y, scale, zero), 0);
            continue;
        }
        if (after == PLUS) {
            x = _mm512_add_ps(x, load(other + i * p->other.row));
            y = _mm512_add_ps(y, load(other + i * p->other.row + TILE));
        }
        _mm512_storeu_si512(out, (__m512i)_mm512_cvtne2ps_pbh(y, x));
    }
}

// The next block of the weight comes from L3 or memory while this one is used.
INLINE void fetch(const bf16 *weight, int64_t size, int64_t part, int64_t num_parts) {
    for (int64_t i = size * part / num_parts & -TERMS; i < size * (part + 1) / num_parts; i += TERMS)
        _mm_prefetch((const char *)(weight + i), _MM_HINT_T1);
}

// Every block of the weight is read once; the rows lie in L2. `spare` holds BLOCK rows of inputs.
TILES INLINE void multiply_all(const Product *p, bf16 *spare, int after, int is_int8) {
    float sums[BLOCK * BLOCK] __attribute__((aligned(64)));
    int64_t whole = p->num_rows / BLOCK * BLOCK, size = BLOCK * p->inputs;
    int64_t num_blocks = (p->num_rows + BLOCK - 1) / BLOCK;
    int rest = p->num_rows - whole;
    Rows last = {spare, CHUNK, TILE_SIZE * 2};
    if (rest) {
        memset(spare, 0, size * sizeof(bf16));
        for (int64_t i = 0; i < rest; i++)
            for (int64_t c = 0; c < p->inputs; c += CHUNK) memcpy(at(&last, i, c), at(&p->rows, whole + i, c), 64);
    }
    for (int64_t column = 0; column < p->outputs; column += BLOCK) {
        const bf16 *weight = p->weight + column * p->inputs;
        for (int64_t block = 0; block < num_blocks; block++) {
            int64_t row = block * BLOCK;
            if (column + BLOCK < p->outputs) fetch(weight + size, size, block, num_blocks);
            Rows rows = row < whole ? (Rows){at(&p->rows, row, 0), p->rows.row, p->rows.chunk} : last;
            multiply_block(&rows, p->inputs, weight, sums, is_int8);
            finish_block(p, sums, row, row < whole ? BLOCK : rest, column, after, is_int8);
        }
    }
}

TILES static void multiply(const Product *p, bf16 *spare, int64_t after) {
    if (p->scales) switch (after) {
        case PLAIN: multiply_all(p, spare, PLAIN, 1); return;
        case PLUS: multiply_all(p, spare, PLUS, 1); return;
        case GELU_UINT8: multiply_all(p, spare, GELU_UINT8, 1); return;
    }
    switch (after) {
        case PLAIN: multiply_all(p, spare, PLAIN, 0); return;
        case GELU: multiply_all(p, spare, GELU, 0); return;
        case PLUS: multiply_all(p, spare, PLUS, 0); return;
        case SILU_GATED: multiply_all(p, spare, SILU_GATED, 0); return;
        case GELU_TANH_GATED: multiply_all(p, spare, GELU_TANH_GATED, 0); return;
    }
}
