"""The comparison with a plain `Trainer` loop runs both sides on the same pairs, and leaves nothing."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import TrainingArguments

from guerdon_training import reward_bench, trunk
from guerdon_training.config import BaseConfig, RewardConfig
from guerdon_training.config_file import read_config
from guerdon_training.reward_bench import measure_speed
from tests.training_reward.runs import config, write_pairs


@pytest.mark.parametrize("native", [False, True])
def test_each_round_measures_both_sides_in_one_dtype(
    tiny_base: BaseConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, native: bool
) -> None:
    seen: list[bool] = []

    def arguments(**given: Any) -> TrainingArguments:
        seen.append(given["bf16"])
        return TrainingArguments(**given)

    for module in (trunk, reward_bench):
        monkeypatch.setattr(module, "has_native_bf16", lambda: native)
    monkeypatch.setattr(reward_bench, "TrainingArguments", arguments)
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path)
    Path("config.yaml").write_text(yaml.safe_dump(config(tiny_base)), "utf-8")
    before = set(tmp_path.iterdir())
    speed = measure_speed(read_config(Path("config.yaml"), RewardConfig), num_pairs=24, rounds=2)
    assert len(speed.ours) == len(speed.plain) == len(speed.ratios) == 2
    assert min(r.cpu for r in (*speed.ours, *speed.plain)) > 0
    assert set(seen) == {native}
    assert set(tmp_path.iterdir()) == before
