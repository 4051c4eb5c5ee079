"""What plain `transformers` makes of a conversation, from a fresh tokenizer each time it is asked for."""

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerFast

from guerdon_service.artifacts.read import read_artifact
from guerdon_service.core.artifact import Artifact
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.ports import Encoder
from guerdon_service.core.render import render_pair_prompt
from guerdon_service.tokenization.encoder import load_encoder
from tests.tiny import tiny

PARAM = "items[0].response"


@functools.cache
def artifact(arch: str) -> Artifact:
    return read_artifact(str(tiny(arch)))


@functools.cache
def encoder(arch: str, **manifest: Any) -> Encoder:
    """Encoder of a tiny model, with fields of its manifest replaced."""
    found = artifact(arch)
    return load_encoder(replace(found, manifest=replace(found.manifest, **manifest)))


@functools.cache
def tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    loaded = AutoTokenizer.from_pretrained(folder)
    assert isinstance(loaded, PreTrainedTokenizerFast)
    return loaded


def messages(conversation: Conversation) -> list[dict[str, str]]:
    turns = [{"role": m.role, "content": m.content} for m in conversation.prompt]
    return [*turns, {"role": "assistant", "content": conversation.response}]


def ids(arch: str, conversation: Conversation) -> list[int]:
    """One unpadded row: the chat template where there is one, else the pair."""
    reference = tokenizer(tiny(arch))
    if reference.chat_template is None:
        encoded = reference(render_pair_prompt(conversation.prompt), conversation.response)
    else:
        encoded = reference.apply_chat_template(messages(conversation), tokenize=True, return_dict=True)
    return list(encoded["input_ids"])
