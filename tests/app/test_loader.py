"""Loading a model, and what earlier ones leave behind."""

import logging
import threading

import pytest
import torch

from guerdon_service.app import loader
from guerdon_service.app.loader import load_model
from guerdon_service.backends import native_bf16
from guerdon_service.backends.torch_backend import TorchBackend
from guerdon_service.core.artifact import ModelSpec
from tests.tiny import tiny


def test_a_later_model_has_as_many_threads_as_the_first() -> None:
    """A forward on part of the cores changes what torch tells threads that start after it."""
    found: list[tuple[int, int]] = []

    def load() -> None:
        backend = load_model(ModelSpec("m", str(tiny("bert")))).backend  # its certificate ran forwards
        assert isinstance(backend, TorchBackend)
        found.append((backend._num_threads, backend.num_parallel))
        backend.close()

    before = torch.get_num_threads()
    try:
        for _ in range(3):
            thread = threading.Thread(target=load)
            thread.start()
            thread.join()
    finally:
        torch.set_num_threads(before)
    assert len(found) == 3 and len(set(found)) == 1


@pytest.mark.parametrize(
    ("dtype", "native", "is_told"),
    [
        ("bfloat16", False, True),
        ("bfloat16", True, False),
        ("float32", False, False),
        ("float16", True, True),
    ],
)
def test_a_dtype_that_the_cpu_does_not_multiply_is_told(
    dtype: str, native: bool, is_told: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(native_bf16, "has_native_bf16", lambda: native)
    with caplog.at_level(logging.WARNING, logger=loader.log.name):
        load_model(ModelSpec("m", str(tiny("bert")), dtype=dtype)).backend.close()
    told = [record for record in caplog.records if f"dtype {dtype} is computed in" in record.getMessage()]
    assert bool(told) == is_told
