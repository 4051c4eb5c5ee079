"""What chat templates rendered is read back exactly: rendering it again gives the same text."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from guerdon_service.core.conversation import Conversation, Message
from guerdon_service.core.errors import InvalidInput
from guerdon_service.dialects.markup import of_continued, of_pair, of_text, read_prompt
from tests.tiny import tiny

PROMPT = (Message("user", "Hi\n\nthere"), Message("assistant", "Hello."), Message("user", "What is 2 < 3?"))
RESPONSE = "A\nsmaller number.\n"


def rendered(arch: str, prompt: tuple[Message, ...], response: str | None) -> str:
    turns = [*prompt, *([Message("assistant", response)] if response is not None else [])]
    tokenizer = AutoTokenizer.from_pretrained(str(tiny(arch)))
    text = tokenizer.apply_chat_template(
        [{"role": t.role, "content": t.content} for t in turns],
        tokenize=False,
        add_generation_prompt=response is None,
    )
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize("arch", ["llama", "qwen2", "qwen3", "gemma2"])
def test_templates_are_read_back(arch: str) -> None:
    text = rendered(arch, PROMPT, RESPONSE)
    found = of_text(text, "input")
    assert rendered(arch, found.prompt, found.response) == text
    assert found.response == RESPONSE
    assert found.prompt[-3:] == PROMPT
    asked = rendered(arch, PROMPT, None)
    assert of_pair(asked, RESPONSE, "x") == found
    assert of_continued(asked + RESPONSE, asked, "x") == found


def test_start_tokens_that_only_one_side_carries() -> None:
    expected = Conversation.of("Q: ", "A")
    for start in ("", "<s>", "<|begin_of_text|>", "<bos>"):
        assert of_continued(f"{start}Q: A</s>", "Q: ", "x") == expected
        assert of_continued("Q: A</s>", f"{start}Q: ", "x") == expected


def test_dialogues() -> None:
    text = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Bye?\n\nAssistant: Bye\n\nfor now"
    found = of_text(text, "x")
    assert [m.role for m in found.prompt] == ["user", "assistant", "user"]
    assert found.response == "Bye\n\nfor now"
    assert of_pair("\n\nHuman: Hi\n\nAssistant:", " Hello", "x") == of_text(
        "\n\nHuman: Hi\n\nAssistant: Hello", "x"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "one text",
        "<|im_start|>assistant\nalone<|im_end|>\n",
        "<|im_start|>user\nHi<|im_end|>\n",
        "before <|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n",
        "<|im_start|>user\nHi<|im_end|>\nbetween<|im_start|>assistant\nHello<|im_end|>\n",
    ],
)
def test_nothing_is_guessed(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"input\[3\]"):
        of_text(text, "input[3]")


@given(st.text(min_size=1), st.text(min_size=1))
def test_plain_pairs_stay_as_they_are(prompt: str, response: str) -> None:
    found = of_pair(prompt, response, "x")
    assert found == Conversation.of(prompt, response)
    assert of_continued(prompt + response, prompt, "x") == found


PIECES = st.sampled_from(
    (
        *("<|im_start|>user\n", "<|im_start|>assistant\n", "<|im_end|>\n", "<|im_end|>", "<|im_"),
        *("\n\nHuman:", "\n\nAssistant:", "Assistant", "Hi", " ", "\n", "<think>\n\n</think>\n\n"),
        *("<start_of_turn>user\n", "<start_of_turn>model\n", "<end_of_turn>", "<bos>", "</s>"),
    )
)
RENDERED = st.lists(PIECES, max_size=7).map("".join)


def read_or_none(text: str) -> Conversation | None:
    try:
        return of_text(text, "x")
    except InvalidInput:
        return None


@given(RENDERED, RENDERED)
@example("\n\nHuman: Hi\n\nAssistant: Well", " then\n\nHuman: So?\n\nAssistant: Yes")
def test_a_response_that_goes_on_is_read_as_if_all_were_one_text(prompt: str, response: str) -> None:
    asked = read_prompt(prompt)
    if asked.markup is None:
        return
    try:
        found = asked.answered(response, "x")
    except InvalidInput:
        assert read_or_none(prompt + response) is None
    else:
        assert found == read_or_none(prompt + response)
