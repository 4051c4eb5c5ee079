"""Recipes that share no work between processes."""

from pathlib import Path

import pytest

from guerdon_service.core.errors import InvalidInput
from guerdon_training.cli import train_command


@pytest.mark.parametrize("recipe", ["head", "implicit", "pipeline"])
def test_a_recipe_of_one_process_refuses_several(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")  # what accelerate launch sets
    with pytest.raises(InvalidInput, match="runs in one process; start it without accelerate launch"):
        train_command([recipe, str(tmp_path / "config.yaml")])
