"""What PEFT saves beside an adapter's weights is the same each time."""

import json
from pathlib import Path

from guerdon_training.artifact import tidy_adapter


def test_what_peft_saves_is_written_in_one_order(tmp_path: Path) -> None:
    """It keeps names in sets, whose order is another in each process."""
    for names in (["query", "dense", "key"], ["key", "query", "dense"]):
        (tmp_path / "adapter_config.json").write_text(
            json.dumps({"target_modules": names, "layers_to_transform": [2, 1], "r": 4}), "utf-8"
        )
        tidy_adapter(tmp_path)
        assert json.loads((tmp_path / "adapter_config.json").read_text("utf-8")) == {
            "target_modules": ["dense", "key", "query"],
            "layers_to_transform": [2, 1],
            "r": 4,
        }
