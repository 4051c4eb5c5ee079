// bf16 rows to uint8, for products of multiply.h.
#pragma once
#include "numbers.h"

enum { ZERO = 128 };  // what stands for 0; rows lie in 1 to 255. Mirrored in steps.py.

typedef struct {
    const float *factor, *offset;  // [size], or NULL: 1 and 0
    const int32_t *again;          // [num_again]: columns that come once more after the last
    int64_t size, num_again;       // size: a multiple of 16
} Quantise;

WIDE static void quantise_row(const Quantise *q, const Rows *from, const Rows *to, int64_t row) {
    const __m512 zero = _mm512_set1_ps(ZERO);
    for (int64_t i = 0; i < q->size; i += LANES) {
        __m512 x = load(at(from, row, i));
        if (q->factor) x = _mm512_mul_ps(x, _mm512_loadu_ps(q->factor + i));
        if (q->offset) x = _mm512_add_ps(x, _mm512_loadu_ps(q->offset + i));
        store_uint8(byte_at(to, row, i), _mm512_add_ps(x, zero), 1);
    }
    for (int64_t i = 0; i < q->num_again; i++) *byte_at(to, row, q->size + i) = *byte_at(to, row, q->again[i]);
}
