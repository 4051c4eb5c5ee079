"""Several batches at a time, each on a thread of its own."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(run: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """What `run` gives for each item, in their order; as many items at a time as torch has threads.

    Each runs on one thread. Threads inside an operation wait for the slowest of them at the end of every
    one, and where other programs use the cores that is most of their time; these wait for nobody. What a
    thread of torch's own has, gradient mode and autocast, `run` has to set itself.
    """
    num_threads = torch.get_num_threads()
    if num_threads == 1:
        yield from map(run, items)
        return
    with ThreadPoolExecutor(num_threads, "guerdon-batch", torch.set_num_threads, (1,)) as pool:
        try:
            yield from pool.map(run, items)
        finally:
            pool.submit(torch.set_num_threads, num_threads)  # it is the default of threads to come as well
