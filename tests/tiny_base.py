"""A tiny random BERT inside an importable package, as the default model's base is."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import BertConfig, BertTokenizer, PreTrainedModel

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


@contextmanager
def bert_package(root: Path, name: str, model: type[PreTrainedModel]) -> Iterator[BaseConfig]:
    """Package `name` below `root`, importable within the block, with a 3-layer `model` of few words."""
    folder = root / name / "model"
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
    model(config).save_pretrained(folder)
    sys.path.insert(0, str(root))
    try:
        yield BaseConfig(name, "model")
    finally:
        sys.path.remove(str(root))
