"""A token that the model has no row for is found at load, not by the first text that holds it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from guerdon_service.core.artifact import Artifact
from guerdon_service.core.errors import InvalidInput
from guerdon_service.tokenization.encoder import load_encoder
from guerdon_service.tokenization.tokenizer import load_tokenizer
from tests.backends.artifacts import artifact_of, edit_config, tiny_artifact
from tests.tiny import tiny

Configured = Callable[..., Artifact]


@pytest.fixture(scope="module")
def highest() -> int:
    return max(load_tokenizer(tiny_artifact("bert")).get_vocab().values())


@pytest.fixture
def configured(tmp_path: Path) -> Configured:
    def of(**fields: Any) -> Artifact:
        folder = Path(shutil.copytree(tiny("bert"), tmp_path / "bert"))
        edit_config(folder, **fields)
        return artifact_of(folder, encoding="pair")

    return of


@pytest.mark.parametrize("is_nested", [False, True])
def test_a_tokenizer_of_more_tokens_than_the_model_has_rows_is_refused(
    configured: Configured, highest: int, is_nested: bool
) -> None:
    rows = {"vocab_size": highest}
    artifact = configured(vocab_size=None, text_config=rows) if is_nested else configured(**rows)
    with pytest.raises(InvalidInput, match=f"ids up to {highest}") as refused:
        load_encoder(artifact)
    assert refused.value.param == "tokenizer"


def test_as_many_rows_as_tokens_are_enough(configured: Configured, highest: int) -> None:
    load_encoder(configured(vocab_size=highest + 1))


def test_a_config_that_does_not_say_is_the_back_ends_to_judge(configured: Configured) -> None:
    load_encoder(configured(vocab_size=None))
