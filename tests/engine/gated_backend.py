"""A back end of the tests: the sum of an item's ids, released one forward at a time."""

import threading
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from guerdon_service.core.encoded import Encoded
from guerdon_service.core.ports import ForwardStats

POISON = 666
NOT_FINITE = 667


class GatedBackend:
    """Each forward waits for `open_once` or `open_for_good`; batches are recorded."""

    name = "fake"
    dtype = "float32"
    num_heads = 1

    def __init__(self, *, shares_prefix: bool = False, on_forward: Callable[[], None] | None = None) -> None:
        self.shares_prefix = shares_prefix
        self.batches: list[list[int]] = []
        self.started = threading.Semaphore(0)
        self._gate = threading.Semaphore(0)
        self._free = False
        self._on_forward = on_forward
        self.closed = False

    def forward(self, batch: Sequence[Encoded]) -> tuple[NDArray[np.float32], ForwardStats]:
        sums = [int(e.input_ids.sum()) for e in batch]
        self.batches.append(sums)
        self.started.release()
        if not self._free:
            self._gate.acquire()
        if self._on_forward is not None:
            self._on_forward()
        if POISON in sums:
            raise RuntimeError("poisoned item")
        rows = [[np.nan if s == NOT_FINITE else float(s)] for s in sums]
        num_tokens = sum(e.num_tokens for e in batch)
        return np.asarray(rows, dtype=np.float32), ForwardStats(num_tokens, num_tokens)

    def open_once(self) -> None:
        self._gate.release()

    def open_for_good(self) -> None:
        self._free = True
        self._gate.release()

    def close(self) -> None:
        self.closed = True


def item(value: int, num_tokens: int = 1, prefix_len: int = 1) -> Encoded:
    """A sequence whose ids add up to `value`."""
    ids = np.zeros(num_tokens, dtype=np.int32)
    ids[-1] = value
    return Encoded(ids, prefix_len, truncated=False)
