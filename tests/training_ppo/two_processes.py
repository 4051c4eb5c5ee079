"""One process of two: trains, and writes what must be equal on both and what must not be.

``python -m tests.training_ppo.two_processes BASE FOLDER``, with the variables that `torchrun` sets.
"""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import Accelerator

from guerdon_service.core.manifest import Norm
from guerdon_training.ppo.checkpoint import trained_state
from guerdon_training.ppo.config import KlConfig
from guerdon_training.ppo.kl import KlController
from guerdon_training.ppo.progress import Progress
from guerdon_training.ppo.recipe import collect, optimise
from tests.training_ppo.jobs import config_of, job_of


def main(base: Path, folder: Path) -> None:
    """Two updates on this process's share."""
    torch.set_num_threads(1)
    rank = os.environ["RANK"]
    config = config_of(base, kl=KlConfig(0.1, target=1.0, horizon=100))
    config = replace(config, optim=replace(config.optim, updates=2))
    (folder / rank).mkdir()
    job = replace(job_of(config, folder / rank), run=folder / "run")
    accelerator = Accelerator(cpu=True)
    assert accelerator.num_processes == 2
    episodes, _ = collect(accelerator, job, Progress(KlController(0.1), Norm()), 0)
    optimise(accelerator, job)
    found = {
        "responses": [[str(c.prompt), c.response] for c in episodes.rollout.conversations],
        "weights": {k: v.double().sum().item() for k, v in trained_state(job.networks.learner).items()},
    }
    (folder / f"{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
