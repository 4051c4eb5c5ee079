"""Loads that overlap would find each other's changes to `transformers`, and keep them for good."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import PreTrainedModel, initialization

from guerdon_service.artifacts.policy import read_policy
from guerdon_service.backends import load
from guerdon_service.backends.load import load_classifier, load_reference
from guerdon_service.backends.torch_backend import TorchBackend
from guerdon_service.core.one_load import ONE_LOAD
from guerdon_service.policies.causal_lm import load_causal_lm
from guerdon_service.policies.gguf import dequantised
from tests.backends.artifacts import artifact_of, tiny_artifact
from tests.backends.test_load import adapter, headless
from tests.policies.tiny_policy import build_policy
from tests.training_policy.gguf_package import build_gguf_package


class Asked:
    """A lock that tells of everyone who asks for it."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self.asked.release()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def test_of_two_loads_at_once_one_waits_and_tied_weights_stay_tied(monkeypatch: pytest.MonkeyPatch) -> None:
    untouched, untied = PreTrainedModel.tie_weights, initialization.no_tie_weights
    lock, within, entered = Asked(), threading.Lock(), list[bool]()

    @contextmanager
    def overlapping() -> Iterator[None]:
        """The first stays within until the second has come as far as it can."""
        with untied():
            entered.append(within.acquire(blocking=False))
            if len(entered) == 1:
                assert all(lock.asked.acquire(timeout=30) for _ in range(2))
            yield
            within.release()

    monkeypatch.setattr(load, "ONE_LOAD", lock)
    monkeypatch.setattr(initialization, "no_tie_weights", overlapping)
    artifacts = tiny_artifact("llama"), tiny_artifact("bert")
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(load_reference, artifacts))
    assert entered == [True, True]
    assert PreTrainedModel.tie_weights is untouched


def test_whatever_changes_the_library_holds_the_lock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    held: list[bool] = []
    untied, adapted = initialization.no_tie_weights, PeftModel.from_pretrained
    package = build_gguf_package(tmp_path, "tiny_package")
    policy = build_policy(tmp_path / "policy")
    folder = adapter("llama", tmp_path / "adapter")
    base = headless("llama", tmp_path / "base")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    @contextmanager
    def noting() -> Iterator[None]:
        held.append(ONE_LOAD.locked())
        with untied():
            yield

    def merging(*args: object) -> PeftModel:
        held.append(ONE_LOAD.locked())
        return adapted(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(initialization, "no_tie_weights", noting)
    monkeypatch.setattr(PeftModel, "from_pretrained", merging)
    works = (
        lambda: load_classifier(tiny_artifact("bert"), torch.float32, "cpu"),
        lambda: TorchBackend.load(artifact_of(base, 2, adapter=folder)),
        lambda: load_causal_lm(read_policy(str(policy)), "float32", "cpu"),
        lambda: dequantised(next(package.glob("*.gguf"))),
    )
    for work in works:
        held.clear()
        work()
        assert held and all(held)
    assert not ONE_LOAD.locked()
