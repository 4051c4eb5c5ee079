"""Two processes of ``accelerate launch`` train what one does: with whole copies (DDP), or parts (FSDP)."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from guerdon_training.cli import train_command
from guerdon_training.ppo.log import read_updates
from guerdon_training.ppo.recipe import LOG, batch_of
from guerdon_training.ppo.together import Scored, roll_out_together
from tests.training_policy.launch import FSDP, check_same, launch
from tests.training_ppo.jobs import config_of, job_of
from tests.training_ppo.served import plain_artifact
from tests.training_ppo.tiny import write_prompts

pytestmark = pytest.mark.timeout(900)  # ten runs, most of the time starting
LORA = {"rank": 4, "alpha": 8}
SCORES = {"normalise_samples": 7, "missing_eos": "subtract"}
RUNS: dict[str, dict[str, Any]] = {
    "ppo": {"algorithm": "ppo", "keep": "best", "seed": 1, "scores": SCORES | {"whiten": True}},
    "ppo_lora": {"algorithm": "ppo", "lora": LORA, "scores": SCORES | {"whiten": True}},
    "rloo": {"algorithm": "rloo"},
    "rloo_lora": {"algorithm": "rloo", "lora": LORA, "kl": {"stop": 0.083}},
}
OUTPUTS = {"sharded": tuple(RUNS), "together": ("ppo", "rloo_lora")}
"""Runs by the output of two processes, with FSDP and without."""


@pytest.fixture(scope="module")
def folder(policy_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every run's ``artifact`` of one process, and those of two: ``together``, and ``sharded``."""
    root = tmp_path_factory.mktemp("launch")
    reward = plain_artifact(root / "reward", "llama")
    for run, values in RUNS.items():
        (root / run).mkdir()
        (root / run / "config.yaml").write_text(yaml.safe_dump(_config(policy_folder, reward) | values))
        write_prompts(root / run / "prompts.jsonl")
        write_prompts(root / run / "valid.jsonl", 5, start=12)  # an odd number to share
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(root / run)
            assert train_command(["ppo", "config.yaml"]) == 0
    launch(root, FSDP, OUTPUTS)
    return root


def _config(base: Path, reward: Path) -> dict[str, Any]:
    """Several rows to a step, mostly an odd number; responses end at different tokens."""
    return {
        "name": "tiny",
        "version": "1",
        "base": str(base),
        "output": "artifact",
        "seed": 3,
        "eval_every": 1,
        "data": {"train": "prompts.jsonl", "valid": "valid.jsonl"},
        "reward": {"artifacts": [str(reward)]},
        "gold": {"artifacts": [str(reward)], "profile": "careful"},
        "scores": SCORES,
        "rollout": {"prompts_per_update": 5, "samples_per_prompt": 3, "max_response_tokens": 12},
        "optim": {
            "updates": 3,
            "learning_rate": 2e-3,
            "epochs": 2,
            "minibatches": 2,
            "max_row_tokens": 60,
            "num_threads": 1,
        },
    }


@pytest.mark.parametrize(("output", "run"), [(o, run) for o, runs in OUTPUTS.items() for run in runs])
def test_two_processes_end_in_the_weights_of_one(folder: Path, output: str, run: str) -> None:
    check_same(folder / run / "artifact", folder / run / output)


def test_the_runs_show_what_they_are_to_show(folder: Path) -> None:
    """Weights that come back, an end before the last update, and rows and responses of many lengths."""
    manifest = json.loads((folder / "ppo/sharded/manifest.json").read_text("utf-8"))
    assert 0 < manifest["metrics"]["kept_update"] < 3
    logs = {run: read_updates(folder / run / "sharded" / LOG) for run in RUNS}
    assert [run for run, log in logs.items() if "stopped" in log[-1]] == ["rloo_lora"]
    assert all(0.2 < line["response/eos_rate"] < 0.8 for log in logs.values() for line in log[1:])
    assert min(log[1]["policy/clip_fraction"] for log in logs.values()) > 0.01


def test_responses_are_dealt_out_and_come_back_in_order(
    policy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(policy_folder, "rloo")
    job = job_of(config, tmp_path)
    prompts, seeds = batch_of(job.train, config, 5)
    parts: list[Scored] = []

    def together(process: int, num_processes: int) -> Scored:
        accelerator: Any = SimpleNamespace(process_index=process, num_processes=num_processes)
        return roll_out_together(accelerator, job.networks, prompts, seeds, [job.reward], config)

    def gather(part: list[Scored]) -> list[Scored]:
        parts.extend(part)
        return [parts[i % len(parts)] for i in range(3)]  # whole by the last of the three

    whole = together(0, 1)
    monkeypatch.setattr("guerdon_training.ppo.together.gather_object", gather)
    *_, joined = (together(process, 3) for process in range(3))
    assert [len(part.rollout.examples) for part in parts] == [6, 6, 6]  # of 16
    assert joined.rollout.conversations == whole.rollout.conversations
    assert joined.rollout.examples == whole.rollout.examples
    assert joined.scores == whole.scores
    assert torch.equal(joined.rollout.mask, whole.rollout.mask)
    assert torch.equal(joined.rollout.finished, whole.rollout.finished)
    torch.testing.assert_close(joined.rollout.logprobs, whole.rollout.logprobs, atol=1e-5, rtol=0)


def test_no_seed_comes_twice_and_a_group_stays_together(policy_folder: Path, tmp_path: Path) -> None:
    config = config_of(policy_folder, "rloo")
    prompts = job_of(config, tmp_path).train
    batches = [batch_of(prompts, config, number) for number in range(3)]
    assert len({seed for _, seeds in batches for seed in seeds}) == 48
    assert all(found[i] == found[i + 3] for found, _ in batches for i in (0, 4, 8, 12))
    assert len({prompt.ids for found, _ in batches for prompt in found}) == 12  # a whole pass
