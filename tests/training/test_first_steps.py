"""What the page tells a team with one file of pairs does as it stands there."""

import json
import subprocess
import sys
from pathlib import Path

from guerdon_training.config import RewardConfig
from guerdon_training.config_file import build_config
from guerdon_training.data import read_pairs
from guerdon_training.head import HeadModeConfig
from guerdon_training.reward_check import check_reward
from guerdon_training.splits import check_splits
from guerdon_training.yaml_text import parse_yaml
from tests.docs.code_blocks import DOCS, blocks_of

SECTION = (DOCS / "pipeline.md").read_text("utf-8").partition("## A reward model from a few hundred pairs")[2]
BLOCKS = [b.text for b in blocks_of(DOCS / "pipeline.md") if b.text in SECTION.partition("\n## ")[0]]


def test_the_three_files_share_no_prompt_and_lose_no_pair(tmp_path: Path) -> None:
    rows = [
        {
            "prompt": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": f"{word}  {i // 2}?"},
            ],
            "chosen": f"a{i}",
            "rejected": f"b{i}",
        }
        for i in range(200)
        for word in ("Why", "ｗｈｙ")
    ]
    (tmp_path / "ours.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", "utf-8")
    script = BLOCKS[0].partition("<<'END'\n")[2].partition("END\n")[0]
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    files = {split: f"{split}.jsonl" for split in ("train", "valid", "test")}
    pairs = {split: read_pairs(tmp_path / file) for split, file in files.items()}
    check_splits(files, {split: ((p.id, p.prompt) for p in found) for split, found in pairs.items()})
    assert sum(map(len, pairs.values())) == len(rows)
    assert len(rows) / 2 < len(pairs["train"]) < len(rows) * 0.9


def test_both_configs_are_complete() -> None:
    head, reward = (parse_yaml(block) for block in BLOCKS[1:])
    assert build_config(HeadModeConfig, head).attribute == "ours"
    check_reward(build_config(RewardConfig, reward))
