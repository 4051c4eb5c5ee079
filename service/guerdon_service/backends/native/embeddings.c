// Embeddings of a BERT-shaped encoder: the sum of three rows of tables, and its layer norm, in fp32.
#include "embeddings.h"

WIDE static void embed_row(const Embeddings *e, int64_t row) {
    const bf16 *word = e->words + e->ids[row] * e->size, *place = e->places + e->positions[row] * e->size;
    const bf16 *kind = e->kinds + (e->types ? e->types[row] : 0) * e->size;
    float sums[e->size];
    __m512 total = _mm512_setzero_ps(), squares = total;
    for (int64_t i = 0; i < e->size; i += LANES) {
        __m512 x = _mm512_add_ps(_mm512_add_ps(load(word + i), load(kind + i)), load(place + i));
        total = _mm512_add_ps(total, x);
        _mm512_storeu_ps(sums + i, x);
    }
    __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(total) / e->size);
    for (int64_t i = 0; i < e->size; i += LANES) {
        __m512 x = _mm512_sub_ps(_mm512_loadu_ps(sums + i), mean);
        squares = _mm512_fmadd_ps(x, x, squares);
    }
    __m512 scale = _mm512_set1_ps(1 / __builtin_sqrtf(_mm512_reduce_add_ps(squares) / e->size + (float)e->epsilon));
    for (int64_t i = 0; i < e->size; i += LANES) {
        __m512 x = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(sums + i), mean), scale);
        x = _mm512_fmadd_ps(x, _mm512_loadu_ps(e->weight + i), _mm512_loadu_ps(e->bias + i));
        store(e->out + row * e->size + i, x);
    }
}

WIDE EXPORT void guerdon_embed(const Embeddings *e, int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) embed_row(e, row);
}
