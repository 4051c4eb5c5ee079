"""JSON values to queries. Unknown fields, wrong types and missing fields are refused by name."""

from collections.abc import Callable
from typing import Any, TypeVar

from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.call import MAX_INT32, Call, options, turns
from guerdon_service.core.conversation import Conversation, Message
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.model_name import check_model_name
from guerdon_service.core.query import CompareQuery, Options, Pair, RankQuery, ScoreQuery

T = TypeVar("T")
Fields = dict[str, object]

_OPTIONS = frozenset({"model", "profile", "lane", "deadline_ms"})
_TURNS = frozenset({"prompt", "messages"})
_ITEM = _TURNS | {"response"}
_PAIR = _TURNS | {"a", "b"}
_MESSAGE = frozenset({"role", "content"})
_SCORE = _OPTIONS | {"items"}
_COMPARE = _OPTIONS | {"pairs"}
_RANK = _OPTIONS | _TURNS | {"candidates", "top_k"}
_SPEC = frozenset({"name", "source", "backend", "dtype", "device", "members", "conservatism"})


def decode_score(value: object, call: Call) -> ScoreQuery:
    """``{items: [{prompt | messages, response}], ...options}``."""
    fields = _fields(value, _SCORE, "")
    asked = _options(fields, call)
    return ScoreQuery(tuple(_list(fields, "items", _conversation)), asked)


def decode_compare(value: object, call: Call) -> CompareQuery:
    """``{pairs: [{prompt | messages, a, b}], ...options}``."""
    fields = _fields(value, _COMPARE, "")
    asked = _options(fields, call)
    return CompareQuery(tuple(_list(fields, "pairs", _pair)), asked)


def decode_rank(value: object, call: Call) -> RankQuery:
    """``{prompt | messages, candidates: [..], top_k?, ...options}``."""
    fields = _fields(value, _RANK, "")
    asked, top_k = _options(fields, call), _whole(fields, "top_k")
    return RankQuery(_turns(fields, ""), tuple(_list(fields, "candidates", _string)), top_k, asked)


def decode_spec(value: object, call: Call) -> ModelSpec:
    """``{name, source, backend?, dtype?, device?}``, or ``{name, members, conservatism?}``."""
    fields = _fields(value, _SPEC, "")
    given: dict[str, Any] = {key: _name(fields, key) for key in ("backend", "dtype", "device")}
    given["conservatism"] = _number(fields, "conservatism")
    source, members = _name(fields, "source"), fields.get("members")
    if (source is None) == (members is None):
        raise InvalidInput("source is missing; give either source or members", param="source")
    if members is not None:
        given["members"] = tuple(_list(fields, "members", _member))
    return ModelSpec(
        name=check_model_name(_text(fields, "name", ""), "name"),
        source=source or "",
        **{key: value for key, value in given.items() if value is not None},
    )


def _member(value: object, path: str) -> str:
    return check_model_name(_string(value, path), path)


def _options(fields: Fields, call: Call) -> Options:
    return options(
        call,
        model=_name(fields, "model"),
        profile=_name(fields, "profile"),
        lane=_name(fields, "lane"),
        deadline_ms=_whole(fields, "deadline_ms"),
    )


def _conversation(value: object, path: str) -> Conversation:
    fields = _fields(value, _ITEM, path)
    return Conversation(_turns(fields, path + "."), _text(fields, "response", path + "."))


def _pair(value: object, path: str) -> Pair:
    fields = _fields(value, _PAIR, path)
    path += "."
    return Pair(_turns(fields, path), _text(fields, "a", path), _text(fields, "b", path))


def _turns(fields: Fields, path: str) -> tuple[Message, ...]:
    prompt = fields.get("prompt")
    if prompt is not None:
        prompt = _text(fields, "prompt", path)
    messages = None
    if fields.get("messages") is not None:
        messages = tuple(_list(fields, "messages", _message, path))
    return turns(prompt, messages, path)


def _message(value: object, path: str) -> Message:
    fields = _fields(value, _MESSAGE, path)
    return Message(_text(fields, "role", path + "."), _text(fields, "content", path + "."))


def _fields(value: object, known: frozenset[str], path: str) -> Fields:
    where = path or "body"
    if not isinstance(value, dict):
        raise InvalidInput(f"{where} is {_kind(value)}; give an object", param=where)
    if not value.keys() <= known:
        name = min(value.keys() - known)
        raise InvalidInput(
            f"{where} has the unknown field {name!r}; known are {', '.join(sorted(known))}",
            param=f"{path}.{name}" if path else name,
        )
    return value


def _list(fields: Fields, key: str, read: Callable[[object, str], T], path: str = "") -> list[T]:
    values = fields.get(key)
    path += key
    if not isinstance(values, list):
        raise InvalidInput(f"{path} is {_kind(values)}; give a list", param=path)
    return [read(value, f"{path}[{i}]") for i, value in enumerate(values)]


def _text(fields: Fields, key: str, path: str) -> str:
    return _string(fields.get(key), path + key)


def _string(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"{path} is {_kind(value)}; give a string", param=path)
    return value


def _name(fields: Fields, key: str) -> str | None:
    """An optional short string; unlike the scored text nobody checks its Unicode later."""
    if fields.get(key) is None:
        return None
    text = _text(fields, key, "")
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        raise InvalidInput(f"{key} holds a lone surrogate; send valid Unicode", param=key)
    return text


def _whole(fields: Fields, key: str) -> int | None:
    value = fields.get(key)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():  # to JSON 5.0 is the integer 5
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > MAX_INT32:
        raise InvalidInput(f"{key} must be a whole number of at most {MAX_INT32}", param=key)
    return value


def _number(fields: Fields, key: str) -> float | None:
    value = fields.get(key)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 1e300:
        raise InvalidInput(f"{key} is {_kind(value)}; give a finite number", param=key)
    return float(value)


def _kind(value: object) -> str:
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (bool, "a boolean"),
        ((int, float), "a number"),
        (str, "a string"),
        (list, "a list"),
        (dict, "an object"),
    )
    return next((name for kind, name in kinds if isinstance(value, kind)), "missing or null")
