"""How many shapes of matrix products oneDNN keeps code and buffers for."""

import os

CAPACITY = 256
"""Products at a time. An encoder in int8 has some 60 shapes of attention and six products a batch: with 64
kept, short items take a seventh more CPU time. In bf16 on AMX, by oneDNN, it had four products for each of 96
numbers of rows, whose code took 3 to 14 ms to make: with 512 kept, a few percent less than with 128. Kernels
of our own make none; fp32 has as many numbers of rows."""
_VARIABLES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
"""oneDNN's own cache, one in the process, and that of torch's layer above it (ideep), one in each thread."""


def bound_primitive_caches() -> None:
    """Keep `CAPACITY` products in each cache, in place of 1,024, unless the environment says otherwise.

    Packed batches have as many shapes as there are sums of lengths, so that most of what is kept is not met
    again, and 0.1 to 0.5 MiB is kept for each. Call it before the first product, which reads them.
    """
    for name in _VARIABLES:
        os.environ.setdefault(name, str(CAPACITY))
