#pragma once
#include "numbers.h"

// Mirrored in embeddings.py.
typedef struct {
    const int64_t *ids, *positions, *types;  // of each row; types may be NULL: all 0
    const bf16 *words, *places, *kinds;      // tables [_, size]
    const float *weight, *bias;              // [size]
    bf16 *out;                               // [_, size]
    int64_t size;                            // a multiple of 16
    double epsilon;
} Embeddings;

void guerdon_embed(const Embeddings *e, int64_t begin, int64_t end);
