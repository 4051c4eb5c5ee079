"""What each process of ``accelerate launch`` runs: ``-m tests.training_policy.launched FOLDER RECIPE...``.

FOLDER/RECIPE holds the recipe's data and its ``config.yaml``.
"""

import os
import sys
from pathlib import Path

from accelerate import Accelerator

from guerdon_training.cli import train_command


def main(folder: Path, recipes: list[str]) -> None:
    """Every recipe in its own folder, into the artifact ``together``."""
    assert Accelerator(cpu=True).num_processes == 2
    for recipe in recipes:
        os.chdir(folder / recipe)
        assert train_command([recipe, "config.yaml", "--set", "output=together"]) == 0


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
