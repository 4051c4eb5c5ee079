"""Targets are the assistant's tokens with their end, whatever the template; the prompt alone is ever cut."""

from collections.abc import Sequence

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput
from guerdon_training.policy.encode import encode_example, encode_examples, encode_prompt
from tests.tiny import tiny

THREAD = (
    Message("user", "What is the capital of France?"),
    Message("assistant", "Paris, a city on the Seine."),
    Message("user", "And the river?"),
)
RESPONSE = "\n the Seine  "
FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3")


def text_of(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], *, skip: bool = False) -> str:
    text = tokenizer.decode(list(ids), skip_special_tokens=skip)
    assert isinstance(text, str)
    return text


def load(family: str) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(tiny(family))
    return tokenizer


@pytest.mark.parametrize("family", FAMILIES)
def test_targets_are_the_response_and_its_end(family: str) -> None:
    tokenizer = load(family)
    example = encode_example(tokenizer, THREAD, RESPONSE, 200)
    assert example is not None
    targets = [i for i, flag in zip(example.input_ids, example.is_target, strict=True) if flag]
    assert targets[-1] == tokenizer.eos_token_id
    assert targets.count(tokenizer.eos_token_id) == 1
    text = text_of(tokenizer, targets[:-1], skip=True)
    # templates strip as they please, and Qwen3's puts an empty thought before the answer
    assert text.removeprefix("<think>\n\n</think>\n\n").strip() == RESPONSE.strip()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_prompt_is_exactly_what_generation_starts_from(family: str) -> None:
    tokenizer = load(family)
    example = encode_example(tokenizer, THREAD, RESPONSE, 200)
    assert example is not None
    prompt = [i for i, flag in zip(example.input_ids, example.is_target, strict=True) if not flag]
    messages = [{"role": m.role, "content": m.content} for m in THREAD]
    reference = tokenizer.apply_chat_template(
        messages, tokenize=True, add_generation_prompt=True, return_dict=False
    )
    assert prompt == encode_prompt(tokenizer, THREAD) == reference
    assert example.is_target == (False,) * len(prompt) + (True,) * (len(example.is_target) - len(prompt))


def test_nothing_after_the_end_of_turn_is_a_target() -> None:
    tokenizer = load("qwen2")
    example = encode_example(tokenizer, THREAD, "yes", 200)
    assert example is not None
    rendered = text_of(tokenizer, example.input_ids)
    assert rendered.endswith("<|im_start|>assistant\nyes<|im_end|>")  # the template's newline is gone


def test_an_end_is_added_where_the_template_has_none() -> None:
    tokenizer = load("gemma3")
    example = encode_example(tokenizer, THREAD, "yes", 200)
    assert example is not None
    assert text_of(tokenizer, example.input_ids).endswith("yes<end_of_turn>\n<eos>")


def test_a_merge_across_the_border_does_not_move_it() -> None:
    tokenizer = load("qwen2")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['content'] }}{% if m['role'] == 'assistant' %}<|im_end|>{% endif %}"
        "{% endfor %}"
    )
    text = "quick brown fox"
    whole = tokenizer(text, add_special_tokens=False)["input_ids"]
    heads = {k: tokenizer(text[:k], add_special_tokens=False)["input_ids"] for k in range(1, len(text))}
    cut = next(k for k, head in heads.items() if whole[: len(head)] != head)
    example = encode_example(tokenizer, (Message("user", text[:cut]),), text[cut:], 50)
    assert example is not None
    assert list(example.input_ids[: len(heads[cut])]) == heads[cut]
    assert example.num_targets == len(example.input_ids) - len(heads[cut])
    assert text_of(tokenizer, example.input_ids) == text + "<|im_end|>"


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_the_prompt_is_cut_on_the_left_after_a_bos(family: str) -> None:
    tokenizer = load(family)
    whole = encode_example(tokenizer, THREAD, "yes", 200)
    assert whole is not None
    limit = len(whole.input_ids) - 6
    cut = encode_example(tokenizer, THREAD, "yes", limit)
    assert cut is not None
    bos = 1 if family == "llama" else 0
    assert len(cut.input_ids) == limit
    assert cut.input_ids == whole.input_ids[:bos] + whole.input_ids[bos + 6 :]
    assert cut.num_targets == whole.num_targets


def test_a_response_is_never_cut() -> None:
    tokenizer = load("llama")
    response = "the river runs quietly to the sea " * 4
    whole = encode_example(tokenizer, THREAD, response, 500)
    assert whole is not None
    assert encode_example(tokenizer, THREAD, response, whole.num_targets + 1) is None  # BOS and nothing more
    tight = encode_example(tokenizer, THREAD, response, whole.num_targets + 2)
    assert tight is not None
    assert tight.num_targets == whole.num_targets


def test_responses_to_one_prompt_keep_the_same_prompt() -> None:
    tokenizer = load("qwen2")
    whole = encode_examples(tokenizer, THREAD, ("yes", "the river " * 9), 500)
    assert whole is not None
    cut = encode_examples(tokenizer, THREAD, ("yes", "the river " * 9), len(whole[1].input_ids) - 5)
    assert cut is not None
    prompts = {e.input_ids[: len(e.input_ids) - e.num_targets] for e in cut}
    assert prompts == {whole[1].input_ids[5 : -whole[1].num_targets]}


def test_a_role_that_the_template_refuses_is_named() -> None:
    turns = (Message("system", "Be brief."), Message("user", "Hello"))
    with pytest.raises(InvalidInput, match=r"system, user.*roles and an order"):
        encode_example(load("gemma2"), turns, "Hi", 100)


def test_a_template_that_rewrites_the_prompt_is_refused() -> None:
    tokenizer = load("qwen2")
    tokenizer.chat_template = (
        "{{ messages|length }}{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}"
    )
    with pytest.raises(InvalidInput, match="renders a prompt differently"):
        encode_example(tokenizer, THREAD, "yes", 100)
