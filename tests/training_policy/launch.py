"""Two processes of ``accelerate launch`` on CPUs, and what they must leave: the artifact of one process."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from guerdon_training.cli import train_command
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
LIBRARIES = Path(sys.prefix) / "deepspeed"
DDP = ("--multi_gpu",)
FSDP = ("--use_fsdp", "--fsdp_version", "2", "--fsdp_auto_wrap_policy", "TRANSFORMER_BASED_WRAP")
ZERO = ("--use_deepspeed", "--zero_stage", "2")


def launch(folder: Path, options: Sequence[str], runs: Mapping[str, Sequence[str]]) -> None:
    """Train runs of `folder` into the outputs that they are listed by: see `launched` and `zero_launched`."""
    module, libraries = ("zero_launched", [str(LIBRARIES)]) if options[0] == ZERO[0] else ("launched", [])
    command = [sys.executable, "-m", "accelerate.commands.launch", *options, "--num_processes", "2"]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    command += ["--main_process_port", str(free_port()), "--module", f"tests.training_policy.{module}"]
    path = os.pathsep.join([str(ROOT), *(p for p in sys.path if p), *libraries])
    settings = {"ACCELERATE_USE_CPU": "true", "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    found = subprocess.run(
        [*command, str(folder), json.dumps(runs)],
        env=os.environ | settings | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-4000:]


def keep_begun(output: str) -> None:
    """In each process: what an interruption has left in `output` is kept, by one of them."""
    if os.environ["RANK"] == "0":
        shutil.copytree(output, f"{output}.begun")


def go_on_alone(run: Path, output: str, arguments: Sequence[str], copy: Path) -> Path:
    """This process ends what `keep_begun` kept; gives the artifact.

    Args:
        run: folder of data, config and artifacts. copy: where it goes on.
        arguments: with which it was begun.
    """
    shutil.copytree(run, copy)
    shutil.rmtree(copy / output)
    (copy / f"{output}.begun").rename(copy / output)
    saved = torch.load(copy / output / ".run/checkpoint.pt", weights_only=True)
    assert saved["progress"]["num_epochs"] == 1
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(copy)
        assert train_command([*arguments, "--set", f"output={output}"]) == 0
    return copy / output


def check_same(one: Path, two: Path, weights: str = "model.safetensors") -> None:
    """Whether two artifacts hold the same weights and logged the same steps, to rounding."""
    alone, together = (load_file(artifact / weights) for artifact in (one, two))
    assert alone.keys() == together.keys()
    for name, weight in alone.items():
        torch.testing.assert_close(together[name], weight, atol=2e-4, rtol=0, msg=name)
    assert not (two / ".run").exists()
    for a, b in zip(read_log(one), read_log(two), strict=True):
        assert a == pytest.approx(b, rel=1e-2, abs=1e-4)  # Adam does not tell a gradient from twice that


def read_log(artifact: Path) -> list[dict[str, float]]:
    """Its ``metrics.jsonl``."""
    return [json.loads(line) for line in (artifact / "metrics.jsonl").read_text("utf-8").splitlines()]
