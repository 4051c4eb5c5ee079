"""The config: read in full, and refused by name where it is wrong."""

import re
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from guerdon_service.core.errors import InvalidInput
from guerdon_training.config import OptimConfig, RewardConfig
from guerdon_training.config_file import read_config
from guerdon_training.policy.config import PolicyOptim

DEFAULT = Path(__file__).parents[2] / "training" / "configs" / "default_reward.yaml"


def test_the_default_config_reads_in_full() -> None:
    config = read_config(DEFAULT, RewardConfig)
    assert [h.name for h in config.heads] == ["helpfulness", "harmlessness"]
    assert {s.source for s in config.heads[0].sources} == {"llmeval2", "pandalm", "qa-feedback", "oasst1"}
    assert {s.source for s in config.heads[1].sources} == {"hh-rlhf", "xstest"}
    assert isinstance(config.optim.learning_rate, float)
    assert config.profiles[min(config.profiles)] == {"helpfulness": 0.5, "harmlessness": 0.5}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("max_tokens: 512", "max_token: 512", "max_token is unknown; did you mean max_tokens"),
        ("learning_rate", "lerning_rate", "optim.lerning_rate is unknown; did you mean learning_rate"),
        ("seed: 17", "", "seed is missing"),
        ("seed: 17", 'seed: "17"', "seed must be a int"),
        ("seed: 17", "seed: true", "seed must be a int"),
        ("source: oasst1", "source: 3", r"heads\[0\]\.sources\[3\]\.source must be a str"),
        ("lora:", "lora: [", "is not YAML"),
    ],
)
def test_a_wrong_config_is_refused_by_name(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "config.yaml"
    text = DEFAULT.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(InvalidInput, match=message):
        read_config(path, RewardConfig)


@pytest.mark.parametrize("optim", [OptimConfig, PolicyOptim])
def test_every_default_of_an_optimiser_has_its_line(optim: type[OptimConfig | PolicyOptim]) -> None:
    said = optim.__doc__ or ""
    defaults = [f.name for f in fields(optim) if f.default is not MISSING]
    assert [name for name in defaults if not re.search(rf"\b{name}(, \w+)?: ", said)] == []


def test_a_missing_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"none\.yaml does not exist"):
        read_config(tmp_path / "none.yaml", RewardConfig)
