#pragma once
#include "numbers.h"

// Mirrored in attention.py. Strides are elements; the last axis lies together.
typedef struct {
    bf16 *first;
    int64_t row, head, group;
} Heads;

typedef struct {
    Heads query, key, value, out;  // rows of queries and answers begin at `earlier`, of keys and values at 0
    const int32_t *segments;       // [num_segments, 4]: begin and end of the queries, then of the prompt's keys
    int64_t num_segments, groups, head_dim, earlier;
    int64_t first_head, last_head;  // key heads computed by this call
    int64_t is_causal, window;      // window: the first distance out of sight, or 0
    float scale, softcap;           // softcap: 0 is none
} Attention;

int guerdon_attend(const Attention *a);
