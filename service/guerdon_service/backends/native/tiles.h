// AMX: eight tiles of 16 rows of 64 bytes. A product adds up 32 terms of 16 x 16 sums: no sum depends on another.
#pragma once
#include <stdint.h>

#include "numbers.h"

#define TILES __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,amx-tile,amx-bf16,amx-int8")))

enum { TILE = 16, TERMS = 32, TILE_SIZE = TILE * TERMS };

typedef struct {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} TileShapes;

// Whole tiles from here on; answers what was configured. oneDNN takes for granted that its own stays.
TILES INLINE TileShapes tiles_begin(void) {
    TileShapes before, whole = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        whole.bytes[i] = 64;
        whole.rows[i] = TILE;
    }
    _tile_storeconfig(&before);
    _tile_loadconfig(&whole);
    return before;
}

TILES INLINE void tiles_end(const TileShapes *before) {
    if (before->palette)
        _tile_loadconfig(before);
    else
        _tile_release();
}
