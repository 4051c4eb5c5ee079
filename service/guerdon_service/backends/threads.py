"""How many threads compute an operation."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def on_threads(num_threads: int) -> Iterator[None]:
    """Operations of this thread run on so many; afterwards on as many as before."""
    before = torch.get_num_threads()
    if before != num_threads:
        torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        if before != num_threads:
            torch.set_num_threads(before)
