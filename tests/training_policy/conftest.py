"""Tiny policies that the tests share, one thread, and a folder to run in."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.training_policy.tiny_lm import build_lm


@pytest.fixture(scope="session")
def tiny_lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a ChatML Llama; not to be written into."""
    return build_lm(tmp_path_factory.mktemp("lm") / "tiny-lm")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of the test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
