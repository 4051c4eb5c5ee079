"""Config files of tiny runs."""

from pathlib import Path

from tests.training_policy.tiny_lm import demonstrations, pairs, write_jsonl

CONFIG = """
name: tiny
version: "1"
output: artifact
base: "{base}"
max_tokens: 64
seed: 5
{keys}
data:
  train: train.jsonl
  valid: valid.jsonl
  test: test.jsonl
optim:
  epochs: 3
  learning_rate: 1e-2
  examples_per_step: 8
  max_row_tokens: 300
  num_threads: 1
{tables}
"""
ROWS = ["--set", "optim.max_row_tokens=60"]
"""Several of them to a step of each of two processes."""
LORA = "lora:\n  rank: 4\n  alpha: 8\n"


def prepare_sft(folder: Path, base: Path | str, *, keys: str = "", tables: str = LORA) -> Path:
    """Config and data of a run of 15 updates."""
    for split, count, seed in (("train", 36, 0), ("valid", 10, 1), ("test", 10, 3)):  # none shares a prompt
        write_jsonl(folder / f"{split}.jsonl", demonstrations(count, seed))
    return _config(folder, base, keys, tables)


def prepare_dpo(folder: Path, base: Path | str, *, keys: str = "", tables: str = LORA) -> Path:
    """Config and data of a run of 12 updates."""
    for seed, (split, count) in enumerate((("train", 26), ("valid", 8), ("test", 9))):
        write_jsonl(folder / f"{split}.jsonl", pairs(count, seed))
    drift = "drift:\n  num_prompts: 6\n  max_new_tokens: 8\n"
    return _config(folder, base, keys, tables + drift)


def _config(folder: Path, base: Path | str, keys: str, tables: str) -> Path:
    config = folder / "config.yaml"
    config.write_text(CONFIG.format(base=base, keys=keys, tables=tables), "utf-8")
    return config
