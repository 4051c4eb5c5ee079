"""What glibc's allocator has given out and not got back."""

import ctypes


class _Mallinfo2(ctypes.Structure):
    """mallinfo(3): ten sizes, the eighth of which is that of the blocks in use."""

    _fields_ = [
        ("before", ctypes.c_size_t * 7),
        ("uordblks", ctypes.c_size_t),
        ("after", ctypes.c_size_t * 2),
    ]


def in_use_mib() -> float:
    """MiB in blocks that are in use."""
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = _Mallinfo2
    return float(mallinfo2().uordblks) / 2**20
