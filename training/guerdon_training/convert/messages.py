"""Message lists from untyped values."""

from typing import Any

from guerdon_service.core.conversation import ROLES, Message
from guerdon_service.core.errors import InvalidInput
from guerdon_training.convert.source_row import Place


def parse_messages(value: Any, field: str, place: Place) -> tuple[Message, ...]:
    """A list of ``{role, content}`` as messages.

    Raises:
        InvalidInput: not such a list, a role outside `core.conversation.ROLES`, or content that is no string.
    """
    if not isinstance(value, list) or not value:
        raise InvalidInput(f"{place}: {field} must be a list of {{role, content}}; fix the line", param=field)
    return tuple(_parse_message(m, f"{field}[{i}]", place) for i, m in enumerate(value))


def _parse_message(value: Any, field: str, place: Place) -> Message:
    if not isinstance(value, dict) or not {"role", "content"} <= value.keys():
        raise InvalidInput(
            f"{place}: {field} must be an object with role and content; fix the line", param=field
        )
    role, content = value["role"], value["content"]
    if role not in ROLES:
        raise InvalidInput(f"{place}: {field}.role is {role!r}; use one of {', '.join(ROLES)}", param=field)
    if not isinstance(content, str):
        raise InvalidInput(f"{place}: {field}.content must be a string; fix the line", param=field)
    return Message(role, content)


def split_response(turns: tuple[Message, ...], field: str, place: Place) -> tuple[tuple[Message, ...], str]:
    """A whole conversation as what precedes the last turn, and that turn's text.

    Raises:
        InvalidInput: the last turn is not the assistant's.
    """
    if turns[-1].role != "assistant":
        raise InvalidInput(f"{place}: {field} must end with an assistant turn; add the response", param=field)
    return turns[:-1], turns[-1].content
