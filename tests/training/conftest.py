"""A tiny random BERT inside an importable package, as the default model's base is."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from transformers import BertForSequenceClassification

from guerdon_training.config import BaseConfig
from tests.threads import one_thread
from tests.tiny_base import bert_package

__all__ = ["one_thread"]


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaseConfig]:
    """Import name and subfolder of a 3-layer BERT with a 30-word vocabulary."""
    root = tmp_path_factory.mktemp("packages")
    with bert_package(root, "tiny_guerdon_base", BertForSequenceClassification) as base:
        yield base


@pytest.fixture
def repository() -> Path:
    """Root of the checkout."""
    return Path(__file__).parents[2]
