"""What each process of ``accelerate launch`` runs, with the arguments FOLDER {OUTPUT: [RUN, ...], ...}.

FOLDER/RUN holds the data and the ``config.yaml`` of a recipe. With the output ``sharded`` it is
interrupted before its second checkpoint, kept as it is then, and goes on. What was launched with FSDP goes on
without it for the output ``together``, as if it had been launched so: a start takes longer than a run.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator, DistributedType, PartialState
from accelerate.state import AcceleratorState

from guerdon_training.cli import train_command
from guerdon_training.sharded import whole_optimizer
from tests.training_policy.launch import keep_begun

RECIPES = {"full": "sft", "ppo_lora": "ppo", "rloo": "ppo", "rloo_lora": "ppo"}
"""Of the runs that are not named as their recipe."""


def main(folder: Path, runs: Mapping[str, Sequence[str]]) -> None:
    """Every run in its own folder, into the artifacts that it is listed by."""
    assert Accelerator(cpu=True).num_processes == 2
    for output, run in ((output, run) for output, names in runs.items() for run in names):
        os.chdir(folder / run)
        _forget(output, run)
        arguments = [RECIPES.get(run, run), "config.yaml", "--set", f"output={output}"]
        if output == "sharded":
            _interrupted(arguments)
            assert len(list(Path(output, ".run").rglob("checkpoint.pt"))) == 1
            keep_begun(output)
        assert train_command(arguments) == 0
        is_sharded = AcceleratorState().distributed_type is DistributedType.FSDP
        assert is_sharded is (output == "sharded")


def _forget(output: str, run: str) -> None:
    """What the run before was launched with."""
    AcceleratorState._reset_state()
    PartialState._shared_state["distributed_type"] = DistributedType.MULTI_CPU
    os.environ["FSDP_ACTIVATION_CHECKPOINTING"] = str(run == "reward-lm").lower()
    if output == "together":
        os.environ.pop("ACCELERATE_USE_FSDP", "")


def _interrupted(arguments: list[str]) -> None:
    calls: list[int] = []

    def dying(optimizer: Any, *, kept: bool = True) -> dict[str, Any]:
        calls.append(1)
        weights = [p for group in optimizer.param_groups for p in group["params"] if p.dim() == 2]
        assert sum(p.to_local().numel() for p in weights) < 0.6 * sum(p.numel() for p in weights)
        assert kept is (os.environ["RANK"] == "0"), "only the process that writes holds whole state"
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole_optimizer(optimizer, kept=kept)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        for module in ("fit", "policy.trainee", "ppo.progress"):  # all processes come here for a checkpoint
            patch.setattr(f"guerdon_training.{module}.whole_optimizer", dying)
        train_command(arguments)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
