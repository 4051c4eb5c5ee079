// Steps that rows of a packed forward go through one by one: a chunk of rows goes through all of them, so that
// what one step writes is still in L2 when the next reads it.
#include <stdlib.h>

#include "multiply.h"
#include "norms.h"
#include "quantise.h"
#include "rows.h"

// Rows that go together: what they take through the steps stays in L2, unless more than that of weights goes
// through with them: then it pays to read those more seldom.
enum { TOGETHER = 256, MOST = 512, LARGE_WEIGHTS = 4 << 20 };

// Rows of 32 columns lie so far apart that those of other columns lie in other sets of the cache.
enum { APART = (MOST + 8) * CHUNK };

TILES static void take(const Step *s, const Rows *rows, int64_t num_rows, bf16 *spare) {
    const Rows none = {NULL, 0, 0}, *other = s->other < 0 ? &none : &rows[s->other];
    if (s->kind == MULTIPLY) {
        Product p = {rows[s->from], *other, rows[s->to], s->tiles, s->bias, num_rows, s->inputs, s->outputs,
                     s->weight, s->out_scale, s->out_zero};
        multiply(&p, spare, s->after);
        return;
    }
    Norm n = {s->weight, s->bias, s->size, s->epsilon};
    Quantise q = {s->weight, s->bias, s->again, s->size, s->count};
    for (int64_t row = 0; row < num_rows; row++)
        if (s->kind == QUANTISE)
            quantise_row(&q, &rows[s->from], &rows[s->to], row);
        else if (s->kind == ROTATE)
            rotate_row(&rows[s->to], other, &rows[s->more], s->count, s->size, row);
        else
            for (int64_t i = 0; i < s->count; i++)
                norm_row(&n, s->begin + i * s->size, &rows[s->from], other, &rows[s->to], row);
}

// Rows of parts that are about equal, whole blocks and at most `most`.
static int64_t even_parts(int64_t num_rows, int64_t most) {
    int64_t parts = num_rows > most ? (num_rows + most - 1) / most : 1;
    return ((num_rows + parts - 1) / parts + BLOCK - 1) / BLOCK * BLOCK;
}

// Take rows `begin` to `end` through the steps. Answers 0, or -1: out of memory.
TILES EXPORT int guerdon_take(const Step *steps, int64_t num_steps, const Given *given, int64_t num_given,
                              int64_t begin, int64_t end) {
    int64_t widest = 0, chunks = 0, weights = 0;
    for (int64_t i = 0; i < num_steps; i++)
        if (steps[i].kind == MULTIPLY) {
            if (steps[i].inputs > widest) widest = steps[i].inputs;
            weights += steps[i].inputs * steps[i].outputs * sizeof(bf16);
        }
    for (int64_t i = 0; i < num_given; i++) chunks += given[i].rows.first ? 0 : (given[i].columns + CHUNK - 1) / CHUNK;
    bf16 *memory = aligned_alloc(64, (BLOCK * widest + APART * chunks) * sizeof(bf16));
    if (!memory) return -1;
    TileShapes before = tiles_begin();
    int64_t together = even_parts(end - begin, weights > LARGE_WEIGHTS ? MOST : TOGETHER);
    for (int64_t row = begin; row < end; row += together) {
        Rows rows[num_given];
        bf16 *next = memory + BLOCK * widest;
        for (int64_t i = 0; i < num_given; i++) {
            const Rows *its = &given[i].rows;
            rows[i] = its->first ? (Rows){at(its, row, 0), its->row, its->chunk} : (Rows){next, CHUNK, APART};
            if (!its->first) next += (given[i].columns + CHUNK - 1) / CHUNK * APART;
        }
        for (int64_t i = 0; i < num_steps; i++)
            take(&steps[i], rows, end - row < together ? end - row : together, memory);
    }
    tiles_end(&before);
    free(memory);
    return 0;
}

// A weight [outputs, inputs] as tiles: [outputs / 32][inputs / 32][2][16 pairs of inputs][16 outputs][2].
EXPORT void guerdon_pack_weight(const bf16 *weight, bf16 *packed, int64_t outputs, int64_t inputs) {
    for (int64_t first = 0; first < outputs; first += TILE)
        for (int64_t column = 0; column < inputs; column += TERMS) {
            int64_t tile = (first / BLOCK * (inputs / TERMS) + column / TERMS) * 2 + first / TILE % 2;
            for (int pair = 0; pair < TERMS / 2; pair++)
                for (int i = 0; i < TILE; i++)
                    memcpy(packed + tile * TILE_SIZE + (pair * TILE + i) * 2,
                           weight + (first + i) * inputs + column + 2 * pair, 4);
        }
}
