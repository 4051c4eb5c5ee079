// Norms and rotations of bf16 rows, computed in fp32 and rounded once.
#pragma once
#include "numbers.h"

typedef struct {
    const float *weight, *bias;  // [size]; a bias makes it a layer norm, none a root-mean-square norm
    int64_t size;
    float epsilon;
} Norm;

// 16 columns of a row from column `i` on, of those before `end`.
WIDE INLINE __m512 load_part(const Rows *rows, int64_t row, int64_t i, int64_t end) {
    return load_some(left(i, end), at(rows, row, i));
}

// (x - mean) / sqrt(variance + epsilon) * weight + bias, or x / sqrt(mean(x^2) + epsilon) * weight; plus `other`.
WIDE static void norm_row(const Norm *n, int64_t begin, const Rows *from, const Rows *other, const Rows *to, int64_t row) {
    int64_t end = begin + n->size;
    float mean = 0;
    __m512 sum = _mm512_setzero_ps(), squares = sum;
    if (n->bias) {
        for (int64_t i = begin; i < end; i += LANES) sum = _mm512_add_ps(sum, load_part(from, row, i, end));
        mean = _mm512_reduce_add_ps(sum) / n->size;
    }
    for (int64_t i = begin; i < end; i += LANES) {
        __m512 x = _mm512_maskz_sub_ps(left(i, end), load_part(from, row, i, end), _mm512_set1_ps(mean));
        squares = _mm512_fmadd_ps(x, x, squares);
    }
    __m512 scale = _mm512_set1_ps(1 / __builtin_sqrtf(_mm512_reduce_add_ps(squares) / n->size + n->epsilon));
    for (int64_t i = begin; i < end; i += LANES) {
        __mmask16 in = left(i, end);
        __m512 x = _mm512_mul_ps(_mm512_sub_ps(load_part(from, row, i, end), _mm512_set1_ps(mean)), scale);
        x = _mm512_mul_ps(x, _mm512_maskz_loadu_ps(in, n->weight + i - begin));
        if (n->bias) x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(in, n->bias + i - begin));
        if (other->first) x = _mm512_add_ps(x, load_part(other, row, i, end));
        store_some(at(to, row, i), in, x);
    }
}

// Rotary embedding (arXiv:2104.09864) of a row's first `count` heads by its angles, in place.
WIDE static void rotate_row(const Rows *rows, const Rows *cos, const Rows *sin, int64_t count, int64_t size, int64_t row) {
    int64_t half = size / 2;
    for (int64_t begin = 0; begin < count * size; begin += size)
        for (int64_t i = 0; i < half; i += LANES) {
            __mmask16 in = left(i, half);
            bf16 *low = at(rows, row, begin + i), *high = at(rows, row, begin + half + i);
            __m512 x = load_some(in, low), y = load_some(in, high);
            __m512 c = load_part(cos, row, i, half), s = load_part(sin, row, i, half);
            store_some(low, in, _mm512_fmsub_ps(x, c, _mm512_mul_ps(y, s)));
            store_some(high, in, _mm512_fmadd_ps(y, c, _mm512_mul_ps(x, s)));
        }
}
