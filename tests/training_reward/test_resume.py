"""A reward run that was killed, met a full disk or lost its loss."""

import errno
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from guerdon_service.core.errors import GuerdonError, InvalidInput
from guerdon_training import fit as fit_module
from guerdon_training.config import BaseConfig
from guerdon_training.learner import Learner
from guerdon_training.ppo.checkpoint import save_state
from tests.training_policy.runs import interrupted_at
from tests.training_reward.runs import config, train, write_pairs

WEIGHTS = "adapter/adapter_model.safetensors"


def _values(base: BaseConfig, **optim: Any) -> dict[str, Any]:
    plain = config(base)
    return plain | {"optim": plain["optim"] | {"epochs": 2} | optim, "ensemble": {"runs": 2}}


@pytest.fixture(scope="module")
def whole(tiny_base: BaseConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artifact of a run of two members."""
    folder = tmp_path_factory.mktemp("whole")
    write_pairs(folder)
    return train(folder, _values(tiny_base))


def test_a_killed_run_ends_in_the_same_weights(whole: Path, tiny_base: BaseConfig, tmp_path: Path) -> None:
    """Killed in the second epoch of its second member: that epoch alone is run again."""
    write_pairs(tmp_path)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Learner, "backward", interrupted_at(5 * 3 + 2, Learner.backward))
        train(tmp_path, _values(tiny_base))
    assert not (tmp_path / "artifact" / "manifest.json").exists()
    killed = train(tmp_path, _values(tiny_base))
    assert (killed / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()
    assert (killed / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()
    assert not (killed / ".run").exists()


def test_every_step_and_epoch_is_in_the_log(whole: Path) -> None:
    lines = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert [x["epoch"] for x in lines if any(k.startswith("valid/log_loss") for k in x)] == [1, 2] * 2
    steps = [x for x in lines if "loss" in x]
    assert len(steps) == 20
    assert all(x.keys() == {"epoch", "loss", "gradient_norm", "learning_rate"} for x in steps)


def test_the_checkpoint_of_another_config_is_refused(tiny_base: BaseConfig, tmp_path: Path) -> None:
    write_pairs(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "backward", interrupted_at(7, Learner.backward))
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, _values(tiny_base))
    with pytest.raises(InvalidInput, match="is of another config"):
        train(tmp_path, _values(tiny_base, learning_rate=0.02))


def test_a_full_disk_stops_it_and_the_last_checkpoint_stays(tiny_base: BaseConfig, tmp_path: Path) -> None:
    write_pairs(tmp_path)
    values, calls = _values(tiny_base) | {"ensemble": {"runs": 1}}, list[int]()

    def full(path: Path, state: Any) -> None:
        calls.append(1)
        with pytest.MonkeyPatch.context() as patch:
            if len(calls) == 2:
                patch.setattr("os.fsync", _no_space)
            save_state(path, state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_module, "save_state", full)
        with pytest.raises(GuerdonError, match=r"No space left.*make room"):
            train(tmp_path, values)
    saved = tmp_path / "artifact" / ".run" / "000" / "checkpoint.pt"
    assert torch.load(saved, weights_only=True)["done"] == 1
    train(tmp_path, values)


def test_a_loss_that_is_not_a_number_stops_it(tiny_base: BaseConfig, tmp_path: Path) -> None:
    write_pairs(tmp_path)
    with pytest.raises(GuerdonError, match=r"the loss is nan; lower optim\.learning_rate.*intact"):
        train(tmp_path, _values(tiny_base, learning_rate=1e30))


def test_a_last_step_that_breaks_the_weights_leaves_no_artifact(
    tiny_base: BaseConfig, tmp_path: Path
) -> None:
    """One step an epoch: its own loss was still finite."""
    write_pairs(tmp_path)
    with pytest.raises(GuerdonError, match=r"scores of the valid pairs are not finite; lower optim"):
        train(tmp_path, _values(tiny_base, learning_rate=float("inf"), epochs=1, pairs_per_step=100))
    assert not (tmp_path / "artifact" / "manifest.json").exists()
    assert not (tmp_path / "artifact" / ".run" / "000" / "checkpoint.pt").exists()


def _no_space(_: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")
