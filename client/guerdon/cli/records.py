"""Input records to what the client sends. Fields that a verb does not use are ignored."""

from dataclasses import dataclass
from typing import Any

from guerdon.client.encode import encode_candidates, encode_item, encode_pair, encode_prompt
from guerdon.errors import InvalidInput
from guerdon.types import Item, Pair, Prompt

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Responses to one prompt, to be ranked."""

    prompt: Prompt
    responses: tuple[str, ...]


def item_of(fields: Fields) -> Item:
    """``{prompt | messages, response}``."""
    item = Item(prompt_of(fields), _field(fields, "response"))
    encode_item(item, "record")
    return item


def pair_of(fields: Fields) -> Pair:
    """``{prompt | messages, a, b}``, or a preference record: ``chosen`` is a and ``rejected`` is b."""
    names = ("chosen", "rejected") if "chosen" in fields and "a" not in fields else ("a", "b")
    a, b = (response_of(fields, name) for name in names)
    pair = Pair(prompt_of(fields), a, b)
    encode_pair(pair, "record")
    return pair


def candidates_of(fields: Fields) -> Candidates:
    """``{prompt | messages, candidates}``."""
    prompt, responses = prompt_of(fields), _field(fields, "candidates")
    encode_prompt(prompt, "record")
    if not isinstance(responses, list):
        raise InvalidInput("candidates must be a list of strings", param="candidates")
    return Candidates(prompt, tuple(encode_candidates(responses)))


def prompt_of(fields: Fields) -> Prompt:
    """Exactly one of ``prompt`` and ``messages``."""
    if ("prompt" in fields) == ("messages" in fields):
        raise InvalidInput("give exactly one of prompt and messages", param="prompt")
    prompt: Prompt = fields["prompt"] if "prompt" in fields else fields["messages"]
    return prompt


def response_of(fields: Fields, name: str) -> Any:
    """The text of a response that may be given as a list of one assistant message."""
    return _completion(_field(fields, name), name)


def _field(fields: Fields, name: str) -> Any:
    if name not in fields:
        raise InvalidInput(f"{name} is missing", param=name)
    return fields[name]


def _completion(value: Any, name: str) -> Any:
    if not isinstance(value, list):
        return value
    if len(value) != 1 or not isinstance(value[0], dict) or value[0].get("role") != "assistant":
        raise InvalidInput(f"{name} must be a string or a list of one assistant message", param=name)
    return value[0].get("content")
