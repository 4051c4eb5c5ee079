"""The comparison with a plain `Trainer` loop runs both sides on the same pairs, and leaves nothing."""

from pathlib import Path

import pytest
import yaml

from guerdon_training.config import BaseConfig, RewardConfig
from guerdon_training.config_file import read_config
from guerdon_training.reward_bench import measure_speed
from tests.training_reward.runs import config, write_pairs


def test_each_round_measures_both_sides(
    tiny_base: BaseConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path)
    Path("config.yaml").write_text(yaml.safe_dump(config(tiny_base)), "utf-8")
    before = set(tmp_path.iterdir())
    speed = measure_speed(read_config(Path("config.yaml"), RewardConfig), num_pairs=24, rounds=2)
    assert len(speed.ours) == len(speed.plain) == len(speed.ratios) == 2
    assert min(r.cpu for r in (*speed.ours, *speed.plain)) > 0
    assert set(tmp_path.iterdir()) == before
