"""Threads that begin at the same moment."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def race(num_threads: int, work: Callable[[int], T]) -> list[T]:
    """``work(i)`` in `num_threads` threads at once; their results in order."""
    barrier = threading.Barrier(num_threads)

    def begin(i: int) -> T:
        barrier.wait(30)
        return work(i)

    with ThreadPoolExecutor(num_threads) as pool:
        return list(pool.map(begin, range(num_threads)))
