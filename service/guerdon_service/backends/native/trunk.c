// A whole trunk of an encoder in one call: whoever calls from Python gives its lock away once, and waits for it
// once, where each call of each layer would stand in line behind whatever else the process does.
#include "attention.h"
#include "embeddings.h"
#include "rows.h"

// Mirrored in encoder_trunk.py.
typedef struct {
    const Step *before, *after;
    const Given *before_rows, *after_rows;
    int64_t num_before, num_after, num_before_rows, num_after_rows;
} Layer;

// Answers 0, or -1: out of memory.
EXPORT int guerdon_encode(const Embeddings *e, const Layer *layers, int64_t num_layers, const Attention *a,
                          int64_t num_rows) {
    guerdon_embed(e, 0, num_rows);
    for (const Layer *l = layers; l < layers + num_layers; l++) {
        if (guerdon_take(l->before, l->num_before, l->before_rows, l->num_before_rows, 0, num_rows)) return -1;
        if (guerdon_attend(a)) return -1;
        if (guerdon_take(l->after, l->num_after, l->after_rows, l->num_after_rows, 0, num_rows)) return -1;
    }
    return 0;
}
