"""What the recorder asks of `torch.cuda`, in which order: a log stands in for the device."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from guerdon_service.backends.cuda_graphs import CudaRecorder


class Log:
    """`torch.cuda` as far as the recorder knows it."""

    def __init__(self, fails: bool = False) -> None:
        self.events: list[str] = []
        self.now = "default"
        self._fails = fails

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        log = self

        class Stream:
            def __init__(self, name: str = "side") -> None:
                self.name = name

            def wait_stream(self, other: "Stream") -> None:
                log.events.append(f"{self.name} waits for {other.name}")

        class Graph:
            def replay(self) -> None:
                log.events.append("replay")

        @contextmanager
        def on(stream: Stream) -> Iterator[None]:
            before, log.now = log.now, stream.name
            yield
            log.now = before

        @contextmanager
        def capture(graph: Graph, pool: object, stream: Stream, **options: Any) -> Iterator[None]:
            log.events.append(f"capture in {pool} {options}")
            log.now = stream.name
            yield
            if log._fails:
                raise RuntimeError("operation not permitted when stream is capturing")
            log.now = "default"

        def set_stream(stream: Stream) -> None:
            log.now = stream.name

        fakes: dict[str, Any] = {
            "Stream": Stream, "CUDAGraph": Graph, "stream": on, "graph": capture, "set_stream": set_stream,
            "current_stream": lambda: Stream(log.now), "graph_pool_handle": lambda: "the pool",
        }  # fmt: skip
        for name, fake in fakes.items():
            monkeypatch.setattr(torch.cuda, name, fake)

    def run(self) -> torch.Tensor:
        self.events.append(f"run on {self.now}")
        return torch.zeros(1)


OPTIONS = {"capture_error_mode": "thread_local"}


def test_it_warms_up_beside_and_then_captures_into_one_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    log.patch(monkeypatch)
    recorder = CudaRecorder()
    recorder.record(log.run).replay()
    once = [
        "side waits for default",
        "run on side",
        "default waits for side",
        f"capture in the pool {OPTIONS}",
        "run on side",
    ]
    assert log.events == [*once, "replay"]
    recorder.record(log.run)
    assert log.events == [*once, "replay", *once]


def test_a_capture_that_fails_leaves_the_streams_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = Log(fails=True)
    log.patch(monkeypatch)
    recorder = CudaRecorder()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="stream is capturing"):
            recorder.record(log.run)
        assert log.now == "default"
