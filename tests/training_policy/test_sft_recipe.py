"""The recipe from end to end on a tiny policy."""

import json
from pathlib import Path

import pytest

from guerdon_training.sft import train_sft
from tests.training_policy.tiny_lm import demonstrations, write_jsonl

CONFIG = """
name = "tiny-sft"
version = "1"
output = "artifact"
base = "{base}"
max_tokens = 64
seed = 5
{extra}
[data]
train = "train.jsonl"
valid = "valid.jsonl"
test = "test.jsonl"
[optim]
epochs = 3
learning_rate = 1e-2
examples_per_step = 8
max_row_tokens = 96
num_threads = 1
{optim}
"""
LORA = "[lora]\nrank = 4\nalpha = 8\n"


def prepare(folder: Path, base: Path, *, extra: str = "", optim: str = "", lora: str = LORA) -> Path:
    for seed, (split, count) in enumerate((("train", 36), ("valid", 10), ("test", 10))):
        write_jsonl(folder / f"{split}.jsonl", demonstrations(count, seed))
    config = folder / "config.toml"
    config.write_text(CONFIG.format(base=base, extra=extra, optim=optim) + lora)
    return config


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_smoke(here: Path, tiny_lm: Path) -> None:
    m = train_sft(prepare(here, tiny_lm))
    print(json.dumps(m.metrics, indent=1), sorted(p.name for p in (here / "artifact").iterdir()))
    print((here / "artifact/metrics.jsonl").read_text())
    print((here / "artifact/config.json").read_text())
    print((here / "artifact/manifest.json").read_text())
