"""A run goes on across commits, and says so."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from guerdon_service.core.errors import InvalidInput
from guerdon_training.environment import environment
from guerdon_training.ppo.checkpoint import load_state, save_state
from guerdon_training.run_identity import is_same_run, run_identity
from guerdon_training.sft import evaluate, train_sft
from tests.training_policy.runs import prepare_sft

PARENTS = {"git_revision": "a" * 40, "torch": "2", "config_sha256": "c", "data_sha256": {"train": "d"}}


@pytest.mark.parametrize("change", [{"torch": "3"}, {"config_sha256": "x"}, {"data_sha256": {"train": "x"}}])
def test_another_library_config_or_data_is_another_run(change: dict[str, Any]) -> None:
    assert not is_same_run(run_identity(PARENTS), run_identity(PARENTS | change))


def test_another_revision_is_the_same_run_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    stored = run_identity(PARENTS)
    assert is_same_run(stored, stored) and not caplog.records
    assert is_same_run(stored, run_identity(PARENTS | {"git_revision": "b" * 40}))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "a" * 40 in record.getMessage() and "b" * 40 in record.getMessage()


def test_a_state_of_another_revision_is_loaded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "checkpoint.pt"
    save_state(path, {"identity": run_identity(PARENTS), "done": 3})
    now = run_identity(PARENTS | {"git_revision": ""})
    state = load_state(path, now)
    assert state is not None and state["done"] == 3
    assert "goes on with that of unknown" in caplog.text
    with pytest.raises(InvalidInput, match="is of another config"):
        load_state(path, run_identity(PARENTS | {"torch": "3"}))


def test_a_run_resumes_under_another_commit_to_the_same_weights(
    here: Path, tiny_lm: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = prepare_sft(here, tiny_lm)
    train_sft(config, ["output=whole", "optim.epochs=2"])
    figures: Iterator[dict[str, float]] = iter([{"loss": 1e9}])  # of the first epoch; the second has none
    begun = {**environment(), "git_revision": "a" * 40}
    with monkeypatch.context() as patch:
        patch.setattr("guerdon_training.policy.artifact.environment", lambda: begun)
        patch.setattr("guerdon_training.sft.evaluate", lambda *_: next(figures))
        with pytest.raises(StopIteration):
            train_sft(config, ["optim.epochs=2"])
        assert not caplog.records
        now = {**begun, "git_revision": "b" * 40}
        patch.setattr("guerdon_training.policy.artifact.environment", lambda: now)
        patch.setattr("guerdon_training.sft.evaluate", evaluate)
        manifest = train_sft(config, ["optim.epochs=2"])
    assert f"was begun by the code of git revision {'a' * 40}" in caplog.text
    assert manifest.parents["git_revision"] == "b" * 40
    assert manifest.metrics["epoch"] == 2
    whole, resumed = (load_file(here / f / "model.safetensors") for f in ("whole", "artifact"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
