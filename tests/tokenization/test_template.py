"""The chat template: BOS exactly once, never guessed, never told the time; the border of the response."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon_service.core.artifact import Artifact
from guerdon_service.core.conversation import Conversation, Message
from guerdon_service.core.errors import InvalidInput
from guerdon_service.tokenization.encoder import load_encoder
from tests.tiny import DECODERS, build_tiny, tiny
from tests.tokenization import reference
from tests.tokenization.reference import PARAM

PAIR = Conversation.of("What is a fox?", "An animal.")
WITH_BOS = ("llama", "mistral", "gemma2", "gemma3")
PLAIN = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
WORD = st.from_regex(r"[A-Za-z0-9][ -~]{0,40}", fullmatch=True)


def decoded(arch: str, ids: list[int]) -> str:
    text = reference.tokenizer(tiny(arch)).decode(ids)
    assert isinstance(text, str)
    return text


def split(arch: str, conversation: Conversation, **manifest: str) -> tuple[list[int], list[int]]:
    encoded = reference.encoder(arch, **manifest).encode(conversation, PARAM)
    ids = encoded.input_ids.tolist()
    return ids[: encoded.prefix_len], ids[encoded.prefix_len :]


@pytest.mark.parametrize("arch", WITH_BOS)
def test_bos_that_the_template_writes_is_not_added_again(arch: str) -> None:
    tokenizer = reference.tokenizer(tiny(arch))
    rendered = tokenizer.apply_chat_template(reference.messages(PAIR), tokenize=False)
    assert tokenizer(rendered)["input_ids"].count(tokenizer.bos_token_id) == 2, "the trap is set"
    ids = reference.encoder(arch).encode(PAIR, PARAM).input_ids.tolist()
    assert ids.count(tokenizer.bos_token_id) == 1
    assert ids[0] == tokenizer.bos_token_id


@pytest.mark.parametrize("arch", WITH_BOS)
def test_bos_that_the_template_leaves_to_the_tokenizer_is_added_once(arch: str) -> None:
    tokenizer = reference.tokenizer(tiny(arch))
    rendered = tokenizer.apply_chat_template(reference.messages(PAIR), chat_template=PLAIN, tokenize=False)
    ids = reference.encoder(arch, template=PLAIN).encode(PAIR, PARAM).input_ids.tolist()
    assert ids == tokenizer(rendered)["input_ids"]
    assert ids.count(tokenizer.bos_token_id) == 1


@pytest.mark.parametrize("arch", ["qwen2", "qwen3"])
def test_no_bos_where_the_tokenizer_has_none(arch: str) -> None:
    tokenizer = reference.tokenizer(tiny(arch))
    ids = reference.encoder(arch, template=PLAIN).encode(PAIR, PARAM).input_ids.tolist()
    assert ids == tokenizer("user: What is a fox?\nassistant: An animal.\n")["input_ids"]


def test_an_encoder_with_a_template_gets_its_cls() -> None:
    tokenizer = reference.tokenizer(tiny("bert"))
    encoder = reference.encoder(
        "bert", encoding="template", template="{{ messages[0].content }} {{ messages[1].content }}[SEP]"
    )
    ids = encoder.encode(PAIR, PARAM).input_ids.tolist()
    assert ids == tokenizer("What is a fox? An animal.")["input_ids"]


def without_template(arch: str, folder: Path) -> Artifact:
    build_tiny(arch, folder)
    (folder / "chat_template.jinja").unlink()
    return replace(reference.artifact(arch), folder=folder, base_folder=folder)


def test_a_missing_template_is_refused_and_the_manifest_may_give_one(tmp_path: Path) -> None:
    found = without_template("llama", tmp_path)
    with pytest.raises(InvalidInput, match=r"never guessed; give manifest\.template") as caught:
        load_encoder(found)
    assert caught.value.param == "manifest.template"
    encoder = load_encoder(replace(found, manifest=replace(found.manifest, template=PLAIN)))
    assert encoder.encode(PAIR, PARAM).num_tokens > 8


def test_an_artifact_over_a_base_brings_its_own_template(tmp_path: Path) -> None:
    found = without_template("llama", tmp_path / "base")
    (tmp_path / "chat_template.jinja").write_text(PLAIN)
    ids = load_encoder(replace(found, folder=tmp_path)).encode(PAIR, PARAM).input_ids.tolist()
    assert ids == reference.encoder("llama", template=PLAIN).encode(PAIR, PARAM).input_ids.tolist()


def test_a_template_that_is_not_jinja_is_refused_at_load() -> None:
    with pytest.raises(InvalidInput, match="not valid Jinja") as caught:
        reference.encoder("llama", template="{% for %}")
    assert caught.value.param == "manifest.template"


def test_a_conversation_that_the_template_refuses_is_the_callers_error() -> None:
    system = Conversation.of((Message("system", "Be brief."), Message("user", "Why?")), "Because.")
    with pytest.raises(InvalidInput, match=r"items\[0\]\.response.*System role not supported") as caught:
        reference.encoder("gemma2").encode(system, PARAM)
    assert caught.value.param == PARAM


def test_a_template_that_renders_nothing_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no token"):
        reference.encoder("qwen2", template="{{ '' }}").encode(PAIR, PARAM)


def test_the_template_is_not_told_the_time() -> None:
    dated = "{{ strftime_now('%d %b %Y') }} {{ messages[0].content }} {{ messages[-1].content }}"
    ids = reference.encoder("qwen2", template=dated).encode(PAIR, PARAM).input_ids.tolist()
    assert decoded("qwen2", ids) == "26 Jul 2024 What is a fox? An animal."


def test_trimming_is_the_templates_business() -> None:
    trims = "{% for m in messages %}<|im_start|>{{ m.content | trim }}{% endfor %}"
    ids = reference.encoder("qwen2", template=trims).encode(Conversation.of(" a ", "\n b"), PARAM).input_ids
    assert decoded("qwen2", ids.tolist()) == "<|im_start|>a<|im_start|>b"


def test_a_template_whose_clock_cannot_be_stopped_is_refused() -> None:
    with pytest.raises(InvalidInput, match="strftime_now"):
        reference.encoder(
            "qwen2", template="{% set f = '%d' %}{{ strftime_now(f) }}{{ messages[-1].content }}"
        )


@pytest.mark.parametrize("arch", DECODERS)
@settings(max_examples=25, deadline=None)
@given(prompt=st.text(min_size=1, max_size=40), responses=st.lists(WORD, min_size=2, max_size=4))
def test_candidates_share_the_prompt_segment(arch: str, prompt: str, responses: list[str]) -> None:
    prefixes = {tuple(split(arch, Conversation.of(prompt, r))[0]) for r in responses}
    assert len(prefixes) == 1
    (prefix,) = prefixes
    text = decoded(arch, list(prefix))
    assert text.rstrip("\n").endswith(("<|end_header_id|>", "[/INST]", "assistant", "model"))


def test_a_thinking_generation_prompt_does_not_hide_the_border() -> None:
    """Its text is no prefix of the whole, so the border is found by comparing two responses."""
    thinks = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n<think>{% endif %}"
    )
    for response in ("An animal.", "a", "b", " a"):
        prefix, rest = split("qwen2", Conversation.of("Why?", response), template=thinks)
        assert decoded("qwen2", prefix).endswith("<|im_start|>assistant\n")
        assert decoded("qwen2", rest) == f"{response}<|im_end|>\n"


def test_a_token_across_the_border_belongs_to_the_response() -> None:
    joined = "{{ messages[0].content }}{{ messages[1].content if messages | length > 1 }}"
    whole = reference.tokenizer(tiny("qwen2"))("What is the")["input_ids"]
    prefix, rest = split("qwen2", Conversation.of("What is th", "e"), template=joined)
    assert prefix + rest == whole, "tokens are those of the whole text"
    assert decoded("qwen2", prefix) == "What is"
    assert decoded("qwen2", rest) == " the"


@pytest.mark.parametrize("template", ["{{ messages[-1].content }}", "{{ messages[0].content }}"])
def test_neither_segment_is_ever_empty(template: str) -> None:
    prefix, rest = split("qwen2", Conversation.of("two words", "two more words"), template=template)
    assert prefix and rest
