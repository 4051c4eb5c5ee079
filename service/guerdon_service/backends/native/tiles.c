#define _GNU_SOURCE
#include "tiles.h"

#include <sys/syscall.h>
#include <unistd.h>

enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };  // of Linux, arch/x86/include/uapi/asm/prctl.h

// 0 where Linux lets this process use tiles.
EXPORT long guerdon_allow_tiles(void) { return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA); }
