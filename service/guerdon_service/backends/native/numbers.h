// bf16 and fp32 by 16 at a time. A function that uses these has the attribute WIDE, or TILES of tiles.h.
#pragma once
#include <immintrin.h>
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))
#define INLINE static inline __attribute__((always_inline))
#define WIDE __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))

enum { LANES = 16 };

typedef uint16_t bf16;

WIDE INLINE __m512 widened(__m256i narrow) {
    return (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(narrow), 16);
}

WIDE INLINE __m512 load(const bf16 *from) { return widened(_mm256_loadu_si256((const __m256i *)from)); }

WIDE INLINE __m512 load_some(__mmask16 some, const bf16 *from) {
    return widened(_mm256_maskz_loadu_epi16(some, from));
}

WIDE INLINE void store(bf16 *to, __m512 x) {
    _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh(x));
}

WIDE INLINE void store_some(bf16 *to, __mmask16 some, __m512 x) {
    _mm256_mask_storeu_epi16(to, some, (__m256i)_mm512_cvtneps_pbh(x));
}

// Rounded, within `least` and 255; NaN becomes `least`, and so would what int32 does not hold.
WIDE INLINE void store_uint8(uint8_t *to, __m512 x, int least) {
    x = _mm512_min_ps(_mm512_set1_ps(255.0f), x);
    __m512i whole = _mm512_max_epi32(_mm512_cvtps_epi32(x), _mm512_set1_epi32(least));
    _mm_storeu_si128((__m128i *)to, _mm512_cvtusepi32_epi8(whole));
}

// Of the lanes that a row of `size` has left at `at`.
INLINE __mmask16 left(int at, int size) {
    return size - at >= LANES ? 0xffff : (__mmask16)((1u << (size - at)) - 1);
}

// Rows of bf16, 32 columns of each side by side: plain rows, or all rows of 32 columns before those of the next.
typedef struct {
    bf16 *first;
    int64_t row, chunk;  // strides
} Rows;

enum { CHUNK = 32 };

INLINE bf16 *at(const Rows *rows, int64_t row, int64_t column) {
    uint64_t of = column;  // never negative, which spares a division's correction
    return rows->first + row * rows->row + of / CHUNK * rows->chunk + of % CHUNK;
}

// Of rows of bytes, two to a bf16's place.
INLINE uint8_t *byte_at(const Rows *rows, int64_t row, int64_t column) {
    return (uint8_t *)at(rows, row, column / 2) + column % 2;
}

// 2^x, with a relative error of at most 2.7e-6 (bf16 keeps 2e-3).
WIDE INLINE __m512 exp2_of(__m512 x) {
    __m512 f = _mm512_reduce_ps(x, 1);  // x - floor(x)
    __m512 p = _mm512_set1_ps(1.35341677e-2f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.20114610e-2f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.41442757e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.93003835e-1f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.00000259f));
    return _mm512_scalef_ps(p, x);
}

// 1 / x with a relative error of 1.2e-7: the instruction's, and one step of Newton's.
WIDE INLINE __m512 inverse(__m512 x) {
    __m512 r = _mm512_rcp14_ps(x);
    return _mm512_mul_ps(r, _mm512_fnmadd_ps(x, r, _mm512_set1_ps(2.0f)));
}

// 1 / (1 + 2^x); of x above 126 it is 2^-126. NaN stays NaN, as it is the second that minimum and maximum hand on.
WIDE INLINE __m512 logistic2(__m512 x) {
    __m512 e = exp2_of(_mm512_min_ps(_mm512_set1_ps(126.0f), x));
    return inverse(_mm512_add_ps(e, _mm512_set1_ps(1.0f)));
}

WIDE INLINE __m512 tanh_of(__m512 x) {
    __m512 half = logistic2(_mm512_mul_ps(x, _mm512_set1_ps(-2.0f * 1.44269504f)));
    return _mm512_fmsub_ps(_mm512_set1_ps(2.0f), half, _mm512_set1_ps(1.0f));
}
