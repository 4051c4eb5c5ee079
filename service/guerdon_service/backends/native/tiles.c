#define _GNU_SOURCE
#include "tiles.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };  // of Linux, arch/x86/include/uapi/asm/prctl.h

// What WIDE and TILES name, of CPUID's leaf 7: a hypervisor may hide any of it and leave the rest.
static int has_instructions(void) {
    const unsigned avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  // F, DQ, BW, VL
    const unsigned amx = 1u << 22 | 1u << 24 | 1u << 25;                // bf16, tiles, int8
    unsigned a, b, c, d, more;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    __cpuid_count(7, 1, more, a, a, a);
    return (b & avx512) == avx512 && (d & amx) == amx && more >> 5 & 1;  // AVX512-BF16
}

// 0 where this CPU has the instructions and Linux lets this process use tiles.
EXPORT long guerdon_allow_tiles(void) {
    return has_instructions() ? syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) : -1;
}
