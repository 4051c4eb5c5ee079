"""A run that is stopped: where it goes on from, and what it leaves behind."""

import resource
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from guerdon_service.core.errors import GuerdonError, InvalidInput
from guerdon_service.core.manifest import Norm
from guerdon_training.policy.config import PolicyLora
from guerdon_training.ppo.checkpoint import CHECKPOINT, trained_state
from guerdon_training.ppo.config import KlConfig, PpoConfig, ScoreRule
from guerdon_training.ppo.kl import KlController
from guerdon_training.ppo.progress import BEST, Progress, resume, save
from guerdon_training.ppo.recipe import LOG, optimise
from tests.training_ppo.jobs import LORA, Killed, KillsAt, config_of, job_of, run


def _resumable(base: Path, algorithm: str, lora: PolicyLora, **changes: Any) -> PpoConfig:
    config = config_of(base, algorithm, lora=lora, kl=KlConfig(0.1, target=1.0, horizon=100))
    return replace(config, scores=ScoreRule(normalise_samples=8, unscorable=-2.0), **changes)


@pytest.mark.parametrize(
    ("algorithm", "lora", "call"),
    [("ppo", PolicyLora(), 0), ("ppo", PolicyLora(), 3), ("ppo", LORA, 2), ("rloo", PolicyLora(), 2)],
)
def test_a_killed_run_resumes_to_the_same_weights(
    policy_folder: Path, tmp_path: Path, algorithm: str, lora: PolicyLora, call: int
) -> None:
    config = _resumable(policy_folder, algorithm, lora)
    whole = job_of(config, tmp_path)
    expected = run(whole)
    (tmp_path / "run").rename(tmp_path / "whole")
    reward = KillsAt(call)
    with pytest.raises(Killed):
        run(job_of(config, tmp_path, reward))
    again = job_of(config, tmp_path, reward)  # a new process would build everything anew
    found = run(again)
    for name, weights in trained_state(whole.networks.learner).items():
        torch.testing.assert_close(trained_state(again.networks.learner)[name], weights, atol=1e-6, rtol=0)
    assert found == expected
    assert expected[-1]["objective/kl_coefficient"] != expected[0]["objective/kl_coefficient"]


def test_what_gold_said_at_the_start_is_known_after_a_break(policy_folder: Path, tmp_path: Path) -> None:
    job = job_of(config_of(policy_folder), tmp_path)
    optimizer = torch.optim.Adam(job.networks.learner.parameters())
    job.run.mkdir()
    progress = Progress(KlController(0.1), Norm(), done=1, gold_lowest=-2.5)
    save(Accelerator(), job, optimizer, progress)
    assert resume(job, optimizer) == progress


def test_a_best_policy_that_no_checkpoint_knows_of_is_told_by_its_own_update(
    policy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evaluations come out otherwise when a run goes on, as sampling on a GPU does."""
    reached = iter([0.0, 1.0, 0.5, 2.0, 0.2, 0.1])  # two to a checkpoint; killed after the fourth
    config = config_of(policy_folder, save_every=2, eval_every=1, keep="best")
    config = replace(config, optim=replace(config.optim, updates=4))

    def evaluate(*_: object) -> dict[str, float]:
        return {"valid/score": next(reached), "valid/score_refused": 0.0, "valid/kl": 0.0}

    monkeypatch.setattr("guerdon_training.ppo.progress.evaluate_policy", evaluate)
    job = job_of(config, tmp_path, KillsAt(3))
    job = replace(job, valid=job.train)
    with pytest.raises(Killed):
        run(job)
    best = torch.load(job.run / BEST, weights_only=True)["learner"]
    assert optimise(Accelerator(), job)["kept_update"] == 3
    for name, weights in trained_state(job.networks.learner).items():
        assert weights.equal(best[name]), name


def test_a_line_cut_short_by_the_kill_is_written_again(policy_folder: Path, tmp_path: Path) -> None:
    config = config_of(policy_folder, save_every=2)
    with pytest.raises(Killed):
        run(job_of(config, tmp_path, KillsAt(2)))
    with (tmp_path / "run" / LOG).open("a") as log:
        log.write('{"update": 3, "objective/sc')
    (tmp_path / "run" / f".{CHECKPOINT}.draft").write_text("half")
    assert [line["update"] for line in run(job_of(config, tmp_path))] == [1, 2, 3]


def test_a_checkpoint_of_another_run_or_a_damaged_one_is_refused(policy_folder: Path, tmp_path: Path) -> None:
    config = config_of(policy_folder)
    with pytest.raises(Killed):
        run(job_of(config, tmp_path, KillsAt(2)))
    with pytest.raises(InvalidInput, match="another config, data, base or reward"):
        run(job_of(config, tmp_path, identity="other"))
    (tmp_path / "run" / CHECKPOINT).write_bytes(b"PK\x03\x04 not a checkpoint")
    with pytest.raises(InvalidInput, match="cannot be read"):
        run(job_of(config, tmp_path))


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow past 2 kB: what a full disk does to a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_files")
def test_a_full_disk_stops_the_run_and_leaves_the_last_checkpoint(
    policy_folder: Path, tmp_path: Path
) -> None:
    config = config_of(policy_folder)
    with pytest.raises(Killed):
        run(job_of(config, tmp_path, KillsAt(1)))
    path = tmp_path / "run" / CHECKPOINT
    before = path.read_bytes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    with pytest.raises(GuerdonError, match="make room"):
        run(job_of(config, tmp_path))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert path.read_bytes() == before
    assert len(run(job_of(config, tmp_path))) == 3
