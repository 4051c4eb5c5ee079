"""One record of an input to what is scored. Fields that scoring does not use are ignored."""

import json
from dataclasses import dataclass
from typing import Any

from guerdon_service.core.call import turns
from guerdon_service.core.conversation import Conversation, Message
from guerdon_service.core.errors import GuerdonError, InvalidInput

COLUMNS = ("id", "prompt", "messages", "response")
"""Fields that are read."""


@dataclass(frozen=True, slots=True)
class Row:
    """One record: where it stands in its file, its id if it has one, and its text or why there is none."""

    index: int
    id: str | None
    item: Conversation | GuerdonError


def parse_line(index: int, line: bytes) -> Row:
    """A line of a JSON Lines file; what is wrong with it stays with it."""
    try:
        return parse_record(index, json.loads(line))
    except (ValueError, RecursionError) as err:
        return Row(index, None, InvalidInput(f"the line is not JSON ({err}); give one object a line"))


def parse_record(index: int, record: Any) -> Row:
    """``{prompt | messages, response, id?}``; nulls count as left out, as columns of Parquet need it."""
    if not isinstance(record, dict):
        return Row(index, None, InvalidInput("the line is no JSON object; give one object a line"))
    given = record.get("id")
    name = given if given is None or isinstance(given, str) else json.dumps(given, default=str)
    try:
        return Row(index, name, _conversation(record))
    except GuerdonError as err:
        return Row(index, name, err)


def _conversation(record: dict[str, Any]) -> Conversation:
    prompt, messages = record.get("prompt"), record.get("messages")
    if isinstance(prompt, list):
        if messages is not None:
            raise InvalidInput("prompt and messages are both given; give one of them", param="messages")
        prompt, messages = None, prompt
    if prompt is not None:
        prompt = _text(prompt, "prompt")
    if messages is not None and not isinstance(messages, list):
        raise InvalidInput("messages is no list; give a list of role and content", param="messages")
    read = None if messages is None else tuple(_message(m, f"messages[{i}]") for i, m in enumerate(messages))
    return Conversation(turns(prompt, read, ""), _text(record.get("response"), "response"))


def _message(value: Any, path: str) -> Message:
    if not isinstance(value, dict):
        raise InvalidInput(f"{path} is no object; give role and content", param=path)
    # A field that the model never sees, tool calls for instance, would be a score of another conversation.
    unknown = sorted(str(k) for k, v in value.items() if k not in ("role", "content") and v is not None)
    if unknown:
        param = f"{path}.{unknown[0]}"
        raise InvalidInput(f"{param} is no known field; known are content, role", param=param)
    return Message(_text(value.get("role"), f"{path}.role"), _text(value.get("content"), f"{path}.content"))


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"{path} is missing or no string; give a string", param=path)
    return value
