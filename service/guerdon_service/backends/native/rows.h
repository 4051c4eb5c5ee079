// Steps of rows, and the rows that they read and write.
#pragma once
#include "numbers.h"

// Mirrored in rows.py.
enum { MULTIPLY, NORM, ROTATE, QUANTISE };

typedef struct {
    int64_t kind, from, to, other, more;  // places among the rows, or -1
    const bf16 *tiles;                    // MULTIPLY
    const float *weight, *bias;           // NORM's, QUANTISE's factor and offset, MULTIPLY's scales and bias
    int64_t inputs, outputs, after;       // MULTIPLY
    double out_scale, out_zero;           // MULTIPLY
    int64_t begin, size, count;           // NORM and ROTATE; QUANTISE's size and number of columns again
    double epsilon;                       // NORM
    const int32_t *again;                 // QUANTISE
} Step;

// What a call is given; rows that begin nowhere are kept for a chunk of rows alone.
typedef struct {
    Rows rows;
    int64_t columns;
} Given;

int guerdon_take(const Step *steps, int64_t num_steps, const Given *given, int64_t num_given, int64_t begin,
                 int64_t end);
