"""What the C library does with memory that a forward has freed."""

import ctypes
from contextlib import AbstractContextManager, suppress

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""`mallopt`'s parameters (man 3 mallopt)."""
KEPT_BYTES = 1 << 30
LARGEST_BLOCK_BYTES = 32 << 20
"""The most that glibc takes from its heap in place of the kernel."""
NUM_HEAPS = 2
"""Threads share them: each would keep one of its own, as large as its largest forward."""


def return_freed_memory() -> None:
    """Give back what `keep_freed_memory` has kept, once nobody will need so much any more."""
    with _glibc():
        ctypes.CDLL(None).malloc_trim(0)


def _glibc() -> AbstractContextManager[None]:
    return suppress(OSError, AttributeError)  # what another C library raises


def keep_freed_memory() -> None:
    """Let glibc keep what is freed, for the next forward; elsewhere nothing changes.

    By default it gives large blocks back and gets them again from the kernel, page by page and zeroed: some
    4 % of the CPU time of an encoder's forward.
    """
    with _glibc():
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, LARGEST_BLOCK_BYTES)
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(_M_ARENA_MAX, NUM_HEAPS)
