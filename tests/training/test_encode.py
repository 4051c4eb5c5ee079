"""Tokens equal what the tokenizer itself makes of a pair, and the prompt alone is ever cut."""

import pytest

from guerdon_service.core.conversation import Message
from guerdon_service.core.render import render_pair_prompt
from guerdon_training.config import BaseConfig
from guerdon_training.encode import encode_pair
from guerdon_training.model import base_folder, load_tokenizer

TURNS = (Message("user", "how"), Message("assistant", "why ?"), Message("user", "the question"))


def test_rendering_keeps_one_user_turn_and_names_the_roles_of_several() -> None:
    assert render_pair_prompt((Message("user", " as is\n"),)) == " as is\n"
    assert render_pair_prompt(TURNS) == "user: how\nassistant: why ?\nuser: the question"
    assert render_pair_prompt((Message("system", "x"),)) == "system: x"


@pytest.mark.parametrize("prompt", [(Message("user", "what is the question ?"),), TURNS])
def test_ids_and_types_are_the_tokenizers_own(tiny_base: BaseConfig, prompt: tuple[Message, ...]) -> None:
    tokenizer = load_tokenizer(base_folder(tiny_base))
    expected = tokenizer(render_pair_prompt(prompt), "the answer is good .")
    got = encode_pair(tokenizer, prompt, "the answer is good .", 64)
    assert got is not None
    assert list(got.input_ids) == expected["input_ids"]
    n = len(got.input_ids) - got.prefix_len
    assert [0] * got.prefix_len + [1] * n == expected["token_type_ids"]


def test_a_long_prompt_loses_its_beginning_and_the_response_nothing(tiny_base: BaseConfig) -> None:
    tokenizer = load_tokenizer(base_folder(tiny_base))
    got = encode_pair(tokenizer, (Message("user", "one two three what is good"),), "very very good", 9)
    assert got is not None
    assert tokenizer.decode(list(got.input_ids)) == "[CLS] what is good [SEP] very very good [SEP]"


def test_a_response_that_leaves_no_room_is_refused(tiny_base: BaseConfig) -> None:
    tokenizer = load_tokenizer(base_folder(tiny_base))
    prompt = (Message("user", "one two"),)
    assert encode_pair(tokenizer, prompt, "good " * 5, 9) is not None
    assert encode_pair(tokenizer, prompt, "good " * 6, 9) is None
    assert encode_pair(tokenizer, prompt, "good " * 7, 9) is None
