"""DDP: two processes sample different episodes and keep equal weights."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from guerdon_service.core.errors import InvalidInput
from guerdon_training.ppo.log import read_updates
from guerdon_training.ppo.recipe import LOG, share
from tests.ports import free_port
from tests.training_ppo.jobs import config_of, job_of

ROOT = Path(__file__).parents[2]


def test_two_processes_share_the_work_and_agree(policy_folder: Path, tmp_path: Path) -> None:
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    command = [sys.executable, "-m", "tests.training_ppo.two_processes", str(policy_folder), str(tmp_path)]
    processes = [
        subprocess.Popen(
            command, cwd=ROOT, env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        )
        for rank in range(2)
    ]
    try:
        assert [process.wait(900) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    one, other = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert one["weights"] == pytest.approx(other["weights"], abs=1e-6)
    assert len(one["responses"]) == len(other["responses"]) == 8
    assert one["responses"] != other["responses"]
    assert [line["update"] for line in read_updates(tmp_path / "run" / LOG)] == [0, 1, 2]


def test_the_shares_are_the_whole_and_no_seed_comes_twice(policy_folder: Path, tmp_path: Path) -> None:
    config = config_of(policy_folder, "rloo")
    prompts = job_of(config, tmp_path).train
    whole, seeds = share(prompts, config, 5, 0, 1)
    halves = [share(prompts, config, 5, process, 2) for process in range(2)]
    assert sorted(seeds) == sorted(halves[0][1] + halves[1][1])
    assert len(set(seeds)) == 16
    assert {p.ids for p in whole} == {p.ids for half, _ in halves for p in half}
    assert not {p.ids for p in halves[0][0]} & {p.ids for p in halves[1][0]}
    assert all(half[i] == half[i + 3] for half, _ in halves for i in (0, 4))  # a group stays together
    with pytest.raises(InvalidInput, match="multiple of the 3 processes"):
        share(prompts, config, 0, 0, 3)
    many = replace(config, optim=replace(config.optim, minibatches=9))
    with pytest.raises(InvalidInput, match="minibatches"):
        share(prompts, many, 0, 0, 2)
