"""Two processes of ``accelerate launch`` on CPUs, which run `launched`."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
DDP = ("--multi_gpu",)
FSDP = ("--use_fsdp", "--fsdp_version", "2", "--fsdp_auto_wrap_policy", "TRANSFORMER_BASED_WRAP")


def launch(folder: Path, options: Sequence[str], output: str, runs: Sequence[str]) -> None:
    """Train every run of `folder` into its ``output``: see `launched`."""
    command = [sys.executable, "-m", "accelerate.commands.launch", *options, "--num_processes", "2"]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    command += ["--main_process_port", str(free_port()), "--module", "tests.training_policy.launched"]
    path = os.pathsep.join([str(ROOT), *(p for p in sys.path if p)])
    settings = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    found = subprocess.run(
        [*command, str(folder), output, *runs],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-4000:]
