"""A tiny random BERT inside an importable package, as the default model's base is."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

from guerdon_training.config import BaseConfig

WORDS = [
    "good",
    "bad",
    "is",
    "the",
    "a",
    "not",
    "very",
    "answer",
    "question",
    "user",
    "assistant",
    "what",
    "how",
    "why",
    "one",
    "two",
    "three",
    ":",
    ".",
    "?",
    "!",
]


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaseConfig]:
    """Import name and subfolder of a 3-layer BERT with a 30-word vocabulary."""
    root = tmp_path_factory.mktemp("packages")
    folder = root / "tiny_guerdon_base" / "model"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("")
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    BertTokenizer(str(folder / "vocab.txt"), model_max_length=64).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=5 + len(WORDS),
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.1,  # at 0.02 a model this small hardly tells texts apart
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    sys.path.insert(0, str(root))
    yield BaseConfig("tiny_guerdon_base", "model")
    sys.path.remove(str(root))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def repository() -> Path:
    """Root of the checkout."""
    return Path(__file__).parents[2]
