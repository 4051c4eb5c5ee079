"""Only the prompt is cut, on its left; the response never is, and cutting is reported."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon_service.artifacts.read import read_artifact
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import InputTooLong
from guerdon_service.tokenization.encoder import load_encoder
from tests.tiny import ARCHS, tiny
from tests.tokenization import reference
from tests.tokenization.reference import PARAM

HEADS = {"bert": 1, "deberta_v2": 1, "modernbert": 1, "xlm_roberta": 1, "qwen2": 0, "qwen3": 0}
"""Leading special tokens that are always kept; the others have a BOS."""


@pytest.mark.parametrize("arch", ARCHS)
@settings(max_examples=40, deadline=None)
@given(
    prompt=st.integers(1, 60).map("the quick brown fox ".__mul__),
    response=st.integers(1, 20).map("jumps over ".__mul__),
    max_tokens=st.integers(8, 200),
)
def test_the_response_is_never_cut(arch: str, prompt: str, response: str, max_tokens: int) -> None:
    conversation = Conversation.of(prompt, response)
    full = reference.encoder(arch, max_tokens=100_000).encode(conversation, PARAM)
    ids, head = full.input_ids.tolist(), HEADS.get(arch, 1)
    rest = ids[full.prefix_len :]
    joint = {"xlm_roberta": 2}.get(arch, 1) if reference.artifact(arch).manifest.encoding == "pair" else 0
    encoder = reference.encoder(arch, max_tokens=max_tokens)
    if max_tokens < full.num_tokens and head + 1 + joint + len(rest) > max_tokens:
        with pytest.raises(InputTooLong):
            encoder.encode(conversation, PARAM)
        return
    got = encoder.encode(conversation, PARAM)
    assert got.num_tokens == min(full.num_tokens, max_tokens)
    assert got.truncated == (full.num_tokens > max_tokens)
    excess = full.num_tokens - got.num_tokens
    assert got.input_ids.tolist() == ids[:head] + ids[head + excess :]
    assert got.input_ids[got.prefix_len :].tolist() == rest


def test_a_response_that_does_not_fit_names_the_counts_and_the_field() -> None:
    encoder = reference.encoder("bert", max_tokens=16)
    with pytest.raises(InputTooLong) as caught:
        encoder.encode(Conversation.of("fox", "dog " * 20), "pairs[3].a")
    assert caught.value.param == "pairs[3].a"
    assert "pairs[3].a takes 21 tokens" in caught.value.message
    assert "max_tokens of 16" in caught.value.message


def test_a_response_that_fits_with_one_prompt_token_is_taken() -> None:
    full = reference.encoder("bert").encode(Conversation.of("fox dog fox", "dog"), PARAM)
    encoder = reference.encoder("bert", max_tokens=full.num_tokens - full.prefix_len + 3)
    got = encoder.encode(Conversation.of("fox dog fox", "dog"), PARAM)
    assert (got.prefix_len, got.truncated) == (3, True)


def test_a_quarter_million_characters() -> None:
    encoded = reference.encoder("llama").encode(Conversation.of("x" * 131_072 + " é" * 65_000, "ok"), PARAM)
    assert (encoded.num_tokens, encoded.truncated) == (512, True)


def test_a_bos_that_only_the_template_writes_is_kept(tmp_path: Path) -> None:
    """Its tokenizer adds nothing by itself, so the template's word is all there is."""
    folder = shutil.copytree(tiny("llama"), tmp_path / "llama")
    backend = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(backend | {"post_processor": None}))
    found = read_artifact(str(folder))
    encoder = load_encoder(replace(found, manifest=replace(found.manifest, max_tokens=24)))
    got = encoder.encode(Conversation.of("fox " * 40, "dog"), PARAM)
    assert got.truncated
    assert got.input_ids[0] == reference.tokenizer(tiny("llama")).bos_token_id
