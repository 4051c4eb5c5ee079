"""Strict readers of JSON values: unknown fields, wrong types and missing fields are refused by name."""

from collections.abc import Callable
from sys import float_info
from typing import TypeVar

from guerdon_service.core.call import MAX_INT32, Call, options, turns
from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.limits import Limits, check_count
from guerdon_service.core.query import Options

T = TypeVar("T")
Fields = dict[str, object]

OPTIONS = frozenset({"model", "profile", "lane", "deadline_ms"})
TURNS = frozenset({"prompt", "messages"})
_MESSAGE = frozenset({"role", "content"})


def read_object(value: object, known: frozenset[str], path: str) -> Fields:
    """An object without fields besides `known`; `path` is its own, "" at the top."""
    where = path or "body"
    if not isinstance(value, dict):
        raise InvalidInput(f"{where} is {_kind(value)}; give an object", param=where)
    if not value.keys() <= known:
        name = min(value.keys() - known)
        raise InvalidInput(
            f"{where} has the unknown field {name!r}; known are {', '.join(sorted(known)) or 'none'}",
            param=f"{path}.{name}" if path else name,
        )
    return value


def read_options(fields: Fields, call: Call) -> Options:
    """What every scoring verb may say besides its data."""
    return options(
        call,
        model=read_name(fields, "model"),
        profile=read_name(fields, "profile"),
        lane=read_name(fields, "lane"),
        deadline_ms=read_whole(fields, "deadline_ms"),
    )


def read_turns(fields: Fields, path: str) -> tuple[Message, ...]:
    """The turns before the response, from `prompt` or `messages`; `path` precedes them."""
    prompt = fields.get("prompt")
    if isinstance(prompt, list):
        where = f"{path}prompt"
        raise InvalidInput(f"{where} is a list; give a string, or the turns as {path}messages", param=where)
    if prompt is not None:
        prompt = read_text(fields, "prompt", path)
    messages = None
    if fields.get("messages") is not None:
        messages = tuple(read_list(fields, "messages", _message, path))
    return turns(prompt, messages, path)


def read_list(
    fields: Fields,
    key: str,
    read: Callable[[object, str], T],
    path: str = "",
    limits: Limits | None = None,
) -> list[T]:
    """A list whose entries `read` takes with their paths; first `limits`, if given, bound their number."""
    values = fields.get(key)
    path += key
    if not isinstance(values, list):
        raise InvalidInput(f"{path} is {_kind(values)}; give a list", param=path)
    if limits is not None:
        check_count(path, len(values), limits)
    return [read(value, f"{path}[{i}]") for i, value in enumerate(values)]


def read_text(fields: Fields, key: str, path: str = "") -> str:
    """A string that must be there; whoever scores it checks its Unicode."""
    return read_string(fields.get(key), path + key)


def read_string(value: object, path: str) -> str:
    """A string."""
    if not isinstance(value, str):
        raise InvalidInput(f"{path} is {_kind(value)}; give a string", param=path)
    return value


def read_name(fields: Fields, key: str) -> str | None:
    """An optional short string; unlike the scored text nobody checks its Unicode later."""
    return None if fields.get(key) is None else read_id(fields, key)


def read_id(fields: Fields, key: str) -> str:
    """The same, of a field that must be there."""
    return valid_unicode(read_text(fields, key), key)


def valid_unicode(text: str, path: str) -> str:
    """`text` itself; lone surrogates, which no UTF-8 can hold, are refused."""
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        raise InvalidInput(f"{path} holds a lone surrogate; send valid Unicode", param=path)
    return text


def read_whole(fields: Fields, key: str) -> int | None:
    """An optional whole number that the proto's int32 can hold."""
    value = fields.get(key)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():  # to JSON 5.0 is the integer 5
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > MAX_INT32:
        raise InvalidInput(f"{key} must be a whole number of at most {MAX_INT32}", param=key)
    return value


def read_number(fields: Fields, key: str) -> float | None:
    """An optional finite number."""
    value = fields.get(key)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) <= float_info.max:
        raise InvalidInput(f"{key} is {_kind(value)}; give a finite number", param=key)
    return float(value)


def read_flag(fields: Fields, key: str) -> bool:
    """An optional boolean, false when absent."""
    value = fields.get(key)
    if value is not None and not isinstance(value, bool):
        raise InvalidInput(f"{key} is {_kind(value)}; give true or false", param=key)
    return bool(value)


def _message(value: object, path: str) -> Message:
    fields = read_object(value, _MESSAGE, path)
    return Message(read_text(fields, "role", path + "."), read_text(fields, "content", path + "."))


def _kind(value: object) -> str:
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (bool, "a boolean"),
        ((int, float), "a number"),
        (str, "a string"),
        (list, "a list"),
        (dict, "an object"),
    )
    return next((name for kind, name in kinds if isinstance(value, kind)), "missing or null")
