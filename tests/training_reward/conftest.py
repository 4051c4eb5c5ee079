"""A tiny random BERT without a head inside an importable package, and one thread."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from transformers import BertModel

from guerdon_training.config import BaseConfig
from tests.threads import one_thread
from tests.tiny_base import bert_package
from tests.training_reward.runs import config, train, write_pairs

__all__ = ["one_thread"]


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaseConfig]:
    """Import name and subfolder of a 3-layer trunk: a model gets as many outputs as a test asks for."""
    root = tmp_path_factory.mktemp("packages")
    with bert_package(root, "tiny_headless_base", BertModel) as base:
        yield base


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
