"""A tiny random BERT without a head inside an importable package, and one thread."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizer

from guerdon_training.config import BaseConfig
from tests.training.conftest import WORDS, _one_thread
from tests.training_reward.runs import config, train, write_pairs

__all__ = ["_one_thread"]


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaseConfig]:
    """Import name and subfolder of a 3-layer trunk: a model gets as many outputs as a test asks for."""
    root = tmp_path_factory.mktemp("packages")
    folder = root / "tiny_headless_base" / "model"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("")
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    BertTokenizer(str(folder / "vocab.txt"), model_max_length=64).save_pretrained(folder)
    torch.manual_seed(0)
    shape = BertConfig(
        vocab_size=5 + len(WORDS),
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.1,  # at 0.02 a model this small hardly tells texts apart
    )
    BertModel(shape).save_pretrained(folder)
    sys.path.insert(0, str(root))
    yield BaseConfig("tiny_headless_base", "model")
    sys.path.remove(str(root))


@pytest.fixture(scope="session")
def trained(tiny_base: BaseConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of two members each, with Davidson ties, voted labels and a length head."""
    folder = tmp_path_factory.mktemp("run")
    write_pairs(folder)
    values = config(
        tiny_base,
        objective={"kind": "davidson", "labels": "votes"},
        ensemble={"heads": 2, "runs": 2},
        length={"penalty": 0.1},
    )
    return train(folder, values)
