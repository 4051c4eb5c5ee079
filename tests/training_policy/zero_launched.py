"""What each process of ``accelerate launch --use_deepspeed`` runs, with the arguments of `launched`.

FOLDER/RUN holds the data and the ``config.yaml`` of a recipe. The run ``full`` overflows at first; then it is
interrupted in its second epoch, kept as it is then, and goes on. Each output has its own stage, and one its
precision, as if it had been launched so: a start takes longer than a run.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import deepspeed
import pytest
from accelerate.state import AcceleratorState
from torch import Tensor

from guerdon_service.core.errors import GuerdonError
from guerdon_training.cli import train_command
from guerdon_training.policy.zero import Zero
from tests.training_policy.launch import keep_begun
from tests.training_policy.launched import RECIPES
from tests.training_policy.runs import ONE_EPOCH, ROWS

OPTIONS = {
    "zero_2": {"ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"},
    "zero_3": {"ACCELERATE_DEEPSPEED_CONFIG_FILE": "../zero_3.json"},
    "zero_1": {"ACCELERATE_DEEPSPEED_ZERO_STAGE": "1", "ACCELERATE_MIXED_PRECISION": "bf16"},
}
"""What ``accelerate launch`` would set for each output, beside what it has set."""


def main(folder: Path, runs: Mapping[str, Sequence[str]]) -> None:
    """Every run in its own folder, into the artifacts that it is listed by."""
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # it would be compiled, and is of no use
    for output, names in runs.items():
        with pytest.MonkeyPatch.context() as patch:
            for name, value in OPTIONS[output].items():
                patch.setenv(name, value)
            AcceleratorState._reset_state()
            _train(folder, output, names)


def _train(folder: Path, output: str, runs: Sequence[str]) -> None:
    for run in runs:
        os.chdir(folder / run)
        arguments = [RECIPES.get(run, run), "config.yaml", "--set", f"output={output}"]
        arguments += ROWS if output != "zero_1" else [*ROWS, *ONE_EPOCH]
        if run == "full":
            _overflowing(arguments)
            assert not list(Path(output).rglob("checkpoint.pt"))
            _interrupted(arguments, weights_in_parts=output == "zero_3")
            assert len(list(Path(output, ".run").rglob("checkpoint.pt"))) == 1
            keep_begun(output)
        assert train_command(arguments) == 0


def _overflowing(arguments: list[str]) -> None:
    backward = Zero.backward

    def large(self: Zero, loss: Tensor) -> None:
        loss.register_hook(lambda gradient: gradient * float("inf"))
        backward(self, loss)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(GuerdonError, match="gradient is not finite"):
        patch.setattr(Zero, "backward", large)
        train_command(arguments)


def _interrupted(arguments: list[str], *, weights_in_parts: bool) -> None:
    calls: list[int] = []
    state = Zero.state

    def dying(self: Zero) -> dict[str, Any]:
        calls.append(1)
        _check_parts(self, weights_in_parts=weights_in_parts)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return state(self)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Zero, "state", dying)  # every process comes here after each epoch
        train_command(arguments)


def _check_parts(zero: Zero, *, weights_in_parts: bool) -> None:
    """Each of the two processes holds half, of AdamW's state and, where it shall, of the weights."""
    optimizer, parameters = zero.model.optimizer.optimizer, list(zero.model.module.parameters())
    count = sum(getattr(p, "ds_numel", p.numel()) for p in zero.trained.values())
    assert sum(found["exp_avg"].numel() for found in optimizer.state.values()) < 0.6 * count
    if weights_in_parts:
        assert sum(p.ds_tensor.numel() for p in parameters) < 0.6 * sum(p.ds_numel for p in parameters)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
