"""Callers' items to the wire's dictionaries, and how many bytes each takes."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from guerdon.errors import InvalidInput
from guerdon.types import Item, Message, Pair, Prompt

Wire = dict[str, Any]


def encode_item(item: Item | tuple[Prompt, str], param: str) -> Wire:
    """One item of ``/v1/score``.

    Raises:
        InvalidInput: not an `Item` nor a (prompt, response) tuple, or a field of the wrong type.
    """
    if isinstance(item, tuple) and len(item) == 2:
        item = Item(*item)
    if not isinstance(item, Item):
        raise InvalidInput(
            f"{param} is {_kind(item)}; give an Item or a (prompt, response) tuple", param=param
        )
    return encode_prompt(item.prompt, param) | {"response": encode_text(item.response, f"{param}.response")}


def encode_pair(pair: Pair | tuple[Prompt, str, str], param: str) -> Wire:
    """One pair of ``/v1/compare``.

    Raises:
        InvalidInput: not a `Pair` nor a (prompt, a, b) tuple, or a field of the wrong type.
    """
    if isinstance(pair, tuple) and len(pair) == 3:
        pair = Pair(*pair)
    if not isinstance(pair, Pair):
        raise InvalidInput(f"{param} is {_kind(pair)}; give a Pair or a (prompt, a, b) tuple", param=param)
    return encode_prompt(pair.prompt, param) | {
        "a": encode_text(pair.a, f"{param}.a"),
        "b": encode_text(pair.b, f"{param}.b"),
    }


def encode_candidates(candidates: Iterable[str]) -> list[str]:
    """Candidates of ``/v1/rank``.

    Raises:
        InvalidInput: a single string, or a candidate that is not one.
    """
    if isinstance(candidates, str):
        raise InvalidInput("candidates is a single string; give a list of strings", param="candidates")
    return [encode_text(text, f"candidates[{i}]") for i, text in enumerate(candidates)]


def encode_records(records: Iterable[Mapping[str, object]]) -> list[Wire]:
    """Records of ``/v1/datasets``.

    Raises:
        InvalidInput: a record is no mapping, or holds what JSON or Unicode cannot say.
    """
    return [_record(record, f"records[{i}]") for i, record in enumerate(records)]


def encode_prompt(prompt: Prompt, param: str) -> Wire:
    """``{"prompt": str}`` or ``{"messages": [...]}``; `param` is the path that errors name, "" at the top."""
    dot = f"{param}." if param else ""
    if isinstance(prompt, str):
        return {"prompt": encode_text(prompt, f"{dot}prompt")}
    if not isinstance(prompt, Sequence):
        raise InvalidInput(
            f"{dot}prompt is {_kind(prompt)}; give a string or a list of messages", param=f"{dot}prompt"
        )
    return {"messages": [_message(m, f"{dot}messages[{i}]") for i, m in enumerate(prompt)]}


def encode_text(value: object, param: str) -> str:
    """The string itself.

    Raises:
        InvalidInput: no string, or one with a lone surrogate, which no transport can carry.
    """
    if not isinstance(value, str):
        raise InvalidInput(f"{param} is {_kind(value)}; give a string", param=param)
    try:
        value.encode()
    except UnicodeEncodeError as err:
        raise InvalidInput(
            f"{param} holds a lone surrogate at character {err.start}; send valid Unicode", param=param
        ) from None
    return value


def num_bytes(wire: Wire) -> int:
    """Bytes that the item takes in a JSON body."""
    return len(json.dumps(wire, ensure_ascii=False).encode())


def _record(record: object, param: str) -> Wire:
    if not isinstance(record, Mapping):
        raise InvalidInput(f"{param} is {_kind(record)}; give a mapping", param=param)
    wire = dict(record)
    try:
        json.dumps(wire, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as err:
        raise InvalidInput(f"{param} cannot be sent as JSON: {err}; send plain values", param=param) from None
    return wire


def _message(message: object, param: str) -> Wire:
    if isinstance(message, Message):
        role, content = message.role, message.content
    elif isinstance(message, Mapping) and set(message) == {"role", "content"}:
        role, content = message["role"], message["content"]
    else:
        raise InvalidInput(f"{param} needs exactly the fields role and content", param=param)
    return {"role": encode_text(role, f"{param}.role"), "content": encode_text(content, f"{param}.content")}


def _kind(value: object) -> str:
    return "missing" if value is None else f"of type {type(value).__name__}"
