"""TRL's preference types: conversational with an explicit or an implicit prompt, and standard explicit."""

import json
from typing import Any

from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput
from guerdon_training.convert.messages import parse_messages, split_response
from guerdon_training.convert.side_pair import SidePair
from guerdon_training.convert.source_row import Place, SourceRow


def parse_trl(row: SourceRow) -> SidePair:
    """The comparison in one row.

    Explicit prompt: `prompt` with `chosen` and `rejected` being one assistant message (or text) each.
    Implicit prompt: no `prompt`; `chosen` and `rejected` are conversations that share all but the last turn.
    """
    values, place = row.values, row.place
    if values.get("prompt") is None:
        prompt, chosen = split_response(
            parse_messages(values.get("chosen"), "chosen", place), "chosen", place
        )
        turns = parse_messages(values.get("rejected"), "rejected", place)
        rejected_prompt, rejected = split_response(turns, "rejected", place)
        return SidePair(prompt, rejected_prompt, chosen, rejected)
    prompt = parse_prompt(values["prompt"], place)
    return SidePair(prompt, prompt, _completion(row, "chosen"), _completion(row, "rejected"))


def parse_prompt(value: Any, place: Place) -> tuple[Message, ...]:
    """A prompt given as text (one user turn), as messages, or as their JSON, which cells of a CSV hold."""
    turns = _from_json(value) if isinstance(value, str) else value
    return (Message("user", turns),) if isinstance(turns, str) else parse_messages(turns, "prompt", place)


def _from_json(text: str) -> Any:
    """Messages, or the text itself where it is none."""
    if not text.startswith("[{"):
        return text
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    are_messages = all(isinstance(turn, dict) and {"role", "content"} <= turn.keys() for turn in found)
    return found if are_messages else text


def _completion(row: SourceRow, field: str) -> str:
    value = row.values.get(field)
    if isinstance(value, str):
        return value
    prefix, response = split_response(parse_messages(value, field, row.place), field, row.place)
    if prefix:
        raise InvalidInput(
            f"{row.place}: {field} holds {len(prefix) + 1} messages beside a prompt; give the response alone",
            param=field,
        )
    return response
