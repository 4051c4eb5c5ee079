"""What the page tells a team with one file of pairs does as it stands there."""

import shlex
from pathlib import Path

import pytest

from guerdon_training.audit.cli import data_command
from guerdon_training.config import RewardConfig
from guerdon_training.config_file import build_config
from guerdon_training.data import read_pairs
from guerdon_training.head import HeadModeConfig
from guerdon_training.reward_check import check_reward
from guerdon_training.yaml_text import parse_yaml
from tests.docs.code_blocks import DOCS, blocks_of

SECTION = (DOCS / "pipeline.md").read_text("utf-8").partition("## A reward model from a few hundred pairs")[2]
BLOCKS = [b.text for b in blocks_of(DOCS / "pipeline.md") if b.text in SECTION.partition("\n## ")[0]]


def test_the_three_files_are_those_that_the_configs_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [f"Why {i}?" for i in range(60)]
    text = "prompt,chosen,rejected\n" + "".join(f"{prompt},a,b\n" for prompt in prompts)
    (tmp_path / "ours.csv").write_text(text, "utf-8")
    monkeypatch.chdir(tmp_path)
    commands = [shlex.split(line) for line in BLOCKS[0].splitlines()]
    assert [words[:2] for words in commands] == [["guerdon", "data"]] * len(commands)
    assert [data_command(words[2:]) for words in commands] == [0, 0, 0]
    data = build_config(RewardConfig, parse_yaml(BLOCKS[2])).data
    assert sum(len(read_pairs(Path(file))) for file in (data.train, data.valid, data.test)) == len(prompts)


def test_both_configs_are_complete() -> None:
    head, reward = (parse_yaml(block) for block in BLOCKS[1:])
    assert build_config(HeadModeConfig, head).attribute == "ours"
    check_reward(build_config(RewardConfig, reward))
