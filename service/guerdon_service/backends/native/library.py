"""The C kernels of this package, where this machine can run them."""

import ctypes
import functools
import itertools
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import torch
from torch import Tensor

from guerdon_service.backends.priority import give_way

LIBRARY = Path(__file__).with_name("libguerdon.so")
"""Made when the package is built, on Linux x86-64."""


@functools.cache
def tiles() -> ctypes.CDLL | None:
    """The library, where this CPU multiplies tiles of bf16 (AMX) and Linux lets this process; else None."""
    if not torch.cpu._is_amx_tile_supported() or not LIBRARY.exists():
        return None
    library = ctypes.CDLL(str(LIBRARY))
    return library if library.guerdon_allow_tiles() == 0 else None


def library() -> ctypes.CDLL:
    """The library, where `tiles` is known to have it."""
    found = tiles()
    assert found is not None, "kernels of tiles where there are none"
    return found


def has_tiles() -> bool:
    """Whether there are kernels here."""
    return tiles() is not None


def takes_tiles(tensor: Tensor) -> bool:
    """Whether the library computes with a tensor of this dtype and device."""
    return tensor.dtype == torch.bfloat16 and tensor.device.type == "cpu" and has_tiles()


def in_parts(count: int, run: Callable[[int, int], None]) -> None:
    """Call `run(begin, end)` for all of `count`, in a part for each thread that torch has here.

    When it returns or raises no part runs any more: parts write where the caller may free.
    """
    num_parts = max(1, min(torch.get_num_threads(), count))
    first, *rest = itertools.pairwise(count * i // num_parts for i in range(num_parts + 1))
    others: list[Future[None]] = []
    try:
        for part in rest:
            others.append(_helpers().submit(run, *part))
        run(*first)
    finally:
        wait(others)
    for other in others:
        other.result()


@functools.cache
def _helpers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), "guerdon-kernel", initializer=give_way)
