"""Loading a model, and what earlier ones leave behind."""

import threading

import torch

from guerdon_service.app.loader import load_model
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
