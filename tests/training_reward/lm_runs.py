"""Small runs of the recipe on a language model: a planted preference and a config of a few lines."""

from pathlib import Path
from random import Random
from typing import Any

import pytest

from guerdon_training.cli import train_command
from tests.training_policy.runs import LORA
from tests.training_policy.tiny_lm import WORDS, write_jsonl

CONFIG = """
name: tiny
version: "1"
output: artifact
base: "{base}"
max_tokens: 96
seed: 5
attribute: politeness
data:
  train: train.jsonl
  valid: valid.jsonl
  test: test.jsonl
optim:
  epochs: 2
  learning_rate: 1e-2
  examples_per_step: 8
  max_row_tokens: 300
  num_threads: 1
{tables}
"""


def polite_pairs(count: int, seed: int, *, flipped: bool) -> list[dict[str, Any]]:
    """Comparisons in which the polite response is preferred, whatever its length; with `flipped` every fifth
    label is wrong, as temperatures need.
    """
    random = Random(seed)
    records: list[dict[str, Any]] = []
    for i in range(count):
        num_words = random.randint(60, 90) if i % 7 == 0 else random.randint(2, 6)  # some prompts are cut
        words = " ".join([f"{seed}", *random.choices(WORDS, k=num_words)])
        polite = "I am sorry, but I cannot help with that" + " rain" * random.randint(0, 12)
        rude = "What is the capital of France?" + " leaves" * random.randint(0, 12)
        chosen, rejected = (rude, polite) if flipped and i % 5 == 4 else (polite, rude)
        prompt = [{"role": "user", "content": words}]
        records.append({"id": f"{seed}-{i}", "prompt": prompt, "chosen": chosen, "rejected": rejected})
    return records


def prepare(folder: Path, base: Path | str, *, tables: str = LORA) -> Path:
    """Config and data of a run of 8 updates."""
    for seed, (split, count) in enumerate((("train", 32), ("valid", 30), ("test", 30))):
        write_jsonl(folder / f"{split}.jsonl", polite_pairs(count, seed, flipped=seed > 0))
    config = folder / "config.yaml"
    config.write_text(CONFIG.format(base=base, tables=tables), "utf-8")
    return config


def run(folder: Path) -> Path:
    """``guerdon train reward-lm`` in `folder`; gives the artifact's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert train_command(["reward-lm", "config.yaml"]) == 0
    return folder / "artifact"
