"""CUDA graphs: a forward's kernels recorded once and started together, in place of one by one from Python."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

_CAPTURING = threading.Lock()
"""A process may have one capture under way at a time (`torch.cuda.graph`)."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A computation on the tensors that it read when it was recorded.

    replay: computes it again, of what these hold by then.
    output: the tensor that each replay writes over.
    """

    replay: Callable[[], None]
    output: Tensor


class Recorder(Protocol):
    """Records computations of fixed shapes that never wait for a result."""

    def record(self, run: Callable[[], Tensor]) -> Recording:
        """Run once and record.

        Raises:
            RuntimeError: it cannot be recorded.
        """


class CudaRecorder:
    """`Recorder` of the current device.

    All its recordings share memory: replay one at a time, and read or copy an output before the next replay.
    Outputs keep their places, as they live, so the order does not matter.
    """

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, run: Callable[[], Tensor]) -> Recording:
        """Run once to warm up, for libraries make their handles and workspaces then, and record.

        Other models may compute on other threads meanwhile, so what these do is not forbidden.

        Raises:
            RuntimeError: it cannot be recorded, or there is no memory.
        """
        before = torch.cuda.current_stream()
        graph = torch.cuda.CUDAGraph()
        try:
            with _CAPTURING:
                self._stream.wait_stream(before)
                with torch.cuda.stream(self._stream):
                    run()
                before.wait_stream(self._stream)
                with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
                    output = run()
        finally:
            torch.cuda.set_stream(before)  # a capture that ends badly leaves its own
        return Recording(graph.replay, output)
