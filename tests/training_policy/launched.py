"""What each process of ``accelerate launch`` runs, with the arguments FOLDER OUTPUT RUN...

FOLDER/RUN holds the data and the ``config.yaml`` of a recipe. With the output ``sharded`` it is
interrupted before its second checkpoint, and goes on.
"""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator

from guerdon_training.cli import train_command
from guerdon_training.sharded import whole_optimizer

RECIPES = {"full": "sft", "ppo_lora": "ppo", "rloo": "ppo", "rloo_lora": "ppo"}
"""Of the runs that are not named as their recipe."""


def main(folder: Path, output: str, runs: list[str]) -> None:
    """Every run in its own folder, into the artifact `output`."""
    assert Accelerator(cpu=True).num_processes == 2
    for run in runs:
        os.chdir(folder / run)
        arguments = [RECIPES.get(run, run), "config.yaml", "--set", f"output={output}"]
        if output == "sharded":
            _interrupted(arguments)
            assert len(list(Path(output, ".run").rglob("checkpoint.pt"))) == 1
        assert train_command(arguments) == 0


def _interrupted(arguments: list[str]) -> None:
    calls: list[int] = []

    def dying(optimizer: Any) -> dict[str, Any]:
        calls.append(1)
        weights = [p for group in optimizer.param_groups for p in group["params"] if p.dim() == 2]
        assert sum(p.to_local().numel() for p in weights) < 0.6 * sum(p.numel() for p in weights)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole_optimizer(optimizer)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        for module in ("fit", "policy.trainee", "ppo.progress"):  # all processes come here for a checkpoint
            patch.setattr(f"guerdon_training.{module}.whole_optimizer", dying)
        train_command(arguments)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
