"""A failing disk leaves the last good checkpoint, and processes end where one would."""

import resource
from pathlib import Path
from shutil import rmtree

import pytest
import torch
from accelerate import Accelerator, debug_launcher
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from guerdon_service.core.errors import GuerdonError, InvalidInput
from guerdon_training.sft import evaluate, train_sft
from tests.training_policy.runs import interrupted_at, prepare_sft, replaced


def test_a_full_disk_leaves_the_last_good_checkpoint(
    here: Path, tiny_lm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = prepare_sft(here, tiny_lm)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    calls = 0

    def filling(*args: object) -> dict[str, float]:
        nonlocal calls
        calls += 1
        evaluate(*args)  # type: ignore[arg-type]
        if calls == 2:  # no file may grow past 4 KiB any more: a write fails half-way, as on a full disk
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
        return {"loss": 100.0 + calls}

    with monkeypatch.context() as patch:
        patch.setattr("guerdon_training.sft.evaluate", filling)
        try:
            with pytest.raises(GuerdonError, match=r"checkpoint\.pt could not be written.*before is intact"):
                train_sft(config)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    saved = torch.load(here / "artifact/.run/checkpoint.pt", weights_only=True)
    assert saved["progress"]["num_epochs"] == 1
    assert all("lora_" in name for name in saved["trained"]), "frozen weights are the base's"
    assert train_sft(config).metrics["epoch"] >= 1


def test_a_full_disk_leaves_the_best_weights_so_far(
    here: Path, tiny_lm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = prepare_sft(here, tiny_lm)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    calls = 0

    def filling(*args: object) -> dict[str, float]:
        nonlocal calls
        calls += 1
        if calls == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
        return {"loss": 100.0 - calls}  # each epoch is the best so far

    with monkeypatch.context() as patch:
        patch.setattr("guerdon_training.sft.evaluate", filling)
        try:
            with pytest.raises(GuerdonError, match=r"best\.safetensors could not be written.*free space"):
                train_sft(config)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    run = here / "artifact" / ".run"
    assert sorted(p.name for p in run.glob("*best*")) + sorted(p.name for p in run.glob(".*")) == [
        "best.safetensors"
    ]
    assert load_file(run / "best.safetensors")
    assert train_sft(config).metrics["epoch"] == 3


def test_an_older_version_s_checkpoint_is_not_passed_over(here: Path, tiny_lm: Path) -> None:
    """It was a folder."""
    config, old = prepare_sft(here, tiny_lm), here / "artifact" / ".run" / "checkpoint"
    (old / "000001").mkdir(parents=True)
    with pytest.raises(
        InvalidInput, match=r"\.run/checkpoint is the checkpoint of an older version.*remove it"
    ):
        train_sft(config)
    assert [path.name for path in old.parent.rglob("*")] == ["checkpoint", "000001"]
    rmtree(old)
    assert train_sft(config).metrics["epoch"] >= 1


def _in_a_fork(config: Path) -> None:
    AcceleratorState._reset_state(reset_partial_state=True)  # the parent's, which was alone
    assert Accelerator().num_processes == 2
    train_sft(config)


def test_two_processes_interrupted_or_not_end_in_the_weights_of_one(
    here: Path, tiny_lm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = prepare_sft(here, tiny_lm)
    replaced(config, "epochs: 3", "epochs: 2")
    train_sft(config)
    alone = load_file(here / "artifact/model.safetensors")
    replaced(config, "output: artifact", "output: together")
    with monkeypatch.context() as patch:
        patch.setattr("guerdon_training.sft.evaluate", interrupted_at(2, evaluate))
        debug_launcher(_in_a_fork, (config,), num_processes=2)  # an interrupt ends a process quietly
    assert (here / "together/.run/checkpoint.pt").is_file()
    assert not (here / "together/manifest.json").exists()
    debug_launcher(_in_a_fork, (config,), num_processes=2)
    together = load_file(here / "together/model.safetensors")
    assert alone.keys() == together.keys()
    for name, tensor in alone.items():
        torch.testing.assert_close(together[name], tensor, atol=1e-5, rtol=0)
