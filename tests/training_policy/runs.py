"""Config files of tiny runs; what holds of every recipe that is interrupted, or given what it cannot use."""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, ParamSpec, TypeVar

import pytest

from guerdon_service.core.errors import InvalidInput
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
P = ParamSpec("P")
R = TypeVar("R")
Train = Callable[[Path, Sequence[str]], Any]
FILES = ("model.safetensors", "metrics.jsonl", "scores.jsonl")
ROWS = ["--set", "optim.max_row_tokens=120"]
"""Several of them to a step of each of two processes."""
ONE_EPOCH = ["--set", "optim.epochs=1"]
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


def replaced(config: Path, old: str, new: str) -> Path:
    """The config with its first `old` replaced."""
    config.write_text(config.read_text("utf-8").replace(old, new, 1), "utf-8")
    return config


def check_counts_what_is_too_long(train: Train, config: Path) -> None:
    """Of each split, what does not fit `max_tokens` and is left out of its figures: 1, 2 and 3 records."""
    for number, split in enumerate(("train", "valid", "test"), 1):
        path = config.parent / f"{split}.jsonl"
        lines = path.read_text("utf-8").splitlines()
        long = [json.loads(line) for line in lines[:number]]
        for record in long:
            record["response"] = record["chosen"] = " rain" * 90
        write_jsonl(path, [*long, *map(json.loads, lines[number:])])
    metrics = train(config, ["optim.epochs=1"]).metrics
    assert [metrics[f"num_{split}_too_long"] for split in ("train", "valid", "test")] == [1, 2, 3]


def two_epochs(config: Path) -> Path:
    """The config with one epoch less: enough to be interrupted."""
    return replaced(config, "epochs: 3", "epochs: 2")


def interrupted_at(call: int, function: Callable[P, R]) -> Callable[P, R]:
    """`function`, but for its call of that number (1 is the first), which is interrupted instead."""
    calls = itertools.count(1)

    def interrupted(*args: P.args, **kwargs: P.kwargs) -> R:
        if next(calls) == call:
            raise KeyboardInterrupt
        return function(*args, **kwargs)

    return interrupted


def check_goes_on(train: Train, config: Path, function: str, call: int, whole: Path) -> None:
    """A run that is interrupted at that call of a function ends in the very files of the unbroken `whole`."""
    artifact = config.parent / "artifact"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(function, interrupted_at(call, resolve_name(function)))
        train(config, ())
    assert (artifact / ".run/checkpoint.pt").is_file()
    assert not (artifact / "manifest.json").exists()
    train(config, ())
    for name in (name for name in FILES if (whole / name).is_file()):
        assert (artifact / name).read_bytes() == (whole / name).read_bytes(), name
    assert not (artifact / ".run").exists()


def check_refused(train: Train, config: Path, match: str, settings: Sequence[str] = ()) -> None:
    """A run that cannot be is refused before anything is written."""
    with pytest.raises(InvalidInput, match=match):
        train(config, settings)
    assert not (config.parent / "artifact").exists()


def with_ties(config: Path, counts: Mapping[str, int]) -> list[str]:
    """Lengthen files by pairs that tie; gives what a run says of them."""
    for split, num in counts.items():
        path = config.parent / f"{split}.jsonl"
        lines = path.read_text("utf-8").splitlines()
        ties = [
            json.loads(line) | {"id": f"tie {i}", "votes": {"tie": 3}} for i, line in enumerate(lines[:num])
        ]
        write_jsonl(path, [*map(json.loads, lines), *ties])
    return [
        f"{split}.jsonl: left out {num} pairs that tie: they prefer neither response"
        for split, num in counts.items()
        if num
    ]
