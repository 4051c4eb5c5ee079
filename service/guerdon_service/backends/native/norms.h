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

// Sum of values, or of their squares; four sums side by side, since each addition waits for the one before.
WIDE INLINE float sum_of(const float *values, int64_t size, int squared) {
    __m512 sums[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
    for (int64_t i = 0; i < size; i += 4 * LANES)
        for (int part = 0; part < 4 && i + part * LANES < size; part++) {
            __m512 x = _mm512_loadu_ps(values + i + part * LANES);
            sums[part] = squared ? _mm512_fmadd_ps(x, x, sums[part]) : _mm512_add_ps(sums[part], x);
        }
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3])));
}

// (x - mean) / sqrt(variance + epsilon) * weight + bias, or x / sqrt(mean(x^2) + epsilon) * weight; plus `other`.
// `whole`: the size is a multiple of 16.
WIDE INLINE void norm_sized(const Norm *n, int64_t begin, const Rows *from, const Rows *other, const Rows *to, int64_t row,
                            int whole) {
    int64_t size = n->size;
    float values[(size + LANES - 1) / LANES * LANES];
    for (int64_t i = 0; i < size; i += LANES) {
        const bf16 *x = at(from, row, begin + i);
        _mm512_storeu_ps(values + i, whole ? load(x) : load_some(left(i, size), x));
    }
    if (n->bias) {
        __m512 mean = _mm512_set1_ps(sum_of(values, size, 0) / size);
        for (int64_t i = 0; i < size; i += LANES) {
            __m512 x = _mm512_sub_ps(_mm512_loadu_ps(values + i), mean);
            _mm512_storeu_ps(values + i, whole ? x : _mm512_maskz_mov_ps(left(i, size), x));
        }
    }
    __m512 scale = _mm512_set1_ps(1 / __builtin_sqrtf(sum_of(values, size, 1) / size + n->epsilon));
    for (int64_t i = 0; i < size; i += LANES) {
        __mmask16 in = whole ? 0xffff : left(i, size);
        __m512 x = _mm512_mul_ps(_mm512_loadu_ps(values + i), scale);
        x = _mm512_mul_ps(x, _mm512_maskz_loadu_ps(in, n->weight + i));
        if (n->bias) x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(in, n->bias + i));
        if (other->first) x = _mm512_add_ps(x, load_some(in, at(other, row, begin + i)));
        store_some(at(to, row, begin + i), in, x);
    }
}

WIDE static void norm_row(const Norm *n, int64_t begin, const Rows *from, const Rows *other, const Rows *to, int64_t row) {
    if (n->size % LANES)
        norm_sized(n, begin, from, other, to, row, 0);
    else
        norm_sized(n, begin, from, other, to, row, 1);
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
