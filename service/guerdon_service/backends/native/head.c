// Products of a few fp32 rows with a weight, one by one: a model's head.
#include "numbers.h"

// Four sums side by side, since each addition waits for the one before.
WIDE INLINE float dot(const float *x, const float *y, int64_t size) {
    __m512 sums[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
    for (int64_t i = 0; i < size; i += 4 * LANES)
        for (int part = 0; part < 4 && i + part * LANES < size; part++) {
            int64_t at = i + part * LANES;
            __m512 a = _mm512_maskz_loadu_ps(left(at, size), x + at), b = _mm512_maskz_loadu_ps(left(at, size), y + at);
            sums[part] = _mm512_fmadd_ps(a, b, sums[part]);
        }
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3])));
}

// Rows [num_rows, inputs], a weight [outputs, inputs] and a bias or NULL to `out` [num_rows, outputs].
WIDE EXPORT void guerdon_linear(const float *rows, const float *weight, const float *bias, float *out, int64_t num_rows,
                                int64_t inputs, int64_t outputs) {
    for (int64_t o = 0; o < outputs; o++)
        for (int64_t row = 0; row < num_rows; row++)
            out[row * outputs + o] = dot(rows + row * inputs, weight + o * inputs, inputs) + (bias ? bias[o] : 0);
}
