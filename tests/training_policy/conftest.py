"""Tiny policies that the tests share, and one thread."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.training_policy.tiny_lm import build_lm


@pytest.fixture(scope="session")
def tiny_lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a ChatML Llama; not to be written into."""
    return build_lm(tmp_path_factory.mktemp("lm") / "tiny-lm")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
