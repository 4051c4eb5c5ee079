"""Small runs of the recipe: data on disk and a config of a few lines."""

import json
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from guerdon_training.cli import train_command
from guerdon_training.config import BaseConfig


def write_pairs(folder: Path, num: int = 40) -> None:
    """Train, valid and test pairs: good answers beat bad ones; a fifth of the held-out labels is wrong.

    Every third train pair has votes, every sixth ties.
    """
    for number, split in enumerate(("train", "valid", "test")):
        random = Random(number)
        first = ("what", "how", "why")[number]  # no prompt is in two splits
        lines = [_pair(random, first, i, held_out=number > 0) for i in range(num)]
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)), "utf-8")


def _pair(random: Random, first: str, i: int, *, held_out: bool) -> dict[str, Any]:
    words = random.choices(["what", "how", "why", "one", "two", "three"], k=4)
    prompt = " ".join([first, *words, "?"])
    chosen, rejected = f"the answer is good {prompt}", f"the answer is bad {prompt}"
    if held_out and i % 5 == 4:
        chosen, rejected = rejected, chosen
    record = {"id": str(i), "prompt": [{"role": "user", "content": prompt}], "source": "made"}
    votes = {"chosen": 1, "tie": 2} if i % 6 == 0 else {"chosen": 2, "rejected": 1}
    more = {"votes": votes} if i % 3 == 0 and not held_out else {}
    return record | {"chosen": chosen, "rejected": rejected} | more


def config(base: BaseConfig, **sections: Mapping[str, Any]) -> dict[str, Any]:
    """A config with one head, `quality`."""
    plain: dict[str, Any] = {
        "name": "tiny",
        "version": "1",
        "output": "artifact",
        "max_tokens": 64,
        "seed": 1,
        "base": {"package": base.package, "subfolder": base.subfolder},
        "data": {split: f"{split}.jsonl" for split in ("train", "valid", "test")},
        "heads": [{"name": "quality", "sources": [{"source": "made", "licence": "our own"}]}],
        "profiles": {"only": {"quality": 1.0}},
        "lora": {"rank": 4, "alpha": 8, "layers": [1, 2]},
        "optim": {
            "epochs": 8,
            "learning_rate": 0.01,
            "pairs_per_step": 8,
            "ema_decay": 0.5,
            "num_threads": 1,
        },
    }
    return plain | sections


def train(folder: Path, values: Mapping[str, Any]) -> Path:
    """Run ``guerdon train reward`` in `folder`; give the artifact's folder."""
    (folder / "config.yaml").write_text(yaml.safe_dump(dict(values)), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert train_command(["reward", "config.yaml"]) == 0
    return folder / str(values["output"])
