"""Tiny policies that the tests share, one thread, and a folder to run in."""

from pathlib import Path

import pytest

from tests.threads import one_thread
from tests.training_policy.tiny_lm import build_lm

__all__ = ["one_thread"]


@pytest.fixture(scope="session")
def tiny_lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a ChatML Llama; not to be written into."""
    return build_lm(tmp_path_factory.mktemp("lm") / "tiny-lm")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of the test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
