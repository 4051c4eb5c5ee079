"""JSON values to the queries of the scoring verbs, and to what may be loaded."""

from typing import Any

from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.call import Call
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.limits import Limits
from guerdon_service.core.model_name import check_model_name
from guerdon_service.core.query import CompareQuery, Pair, RankQuery, ScoreQuery
from guerdon_service.rest.fields import (
    OPTIONS,
    TURNS,
    read_list,
    read_name,
    read_number,
    read_object,
    read_options,
    read_string,
    read_text,
    read_turns,
    read_whole,
)

_ITEM = TURNS | {"response"}
_PAIR = TURNS | {"a", "b"}
_SCORE = OPTIONS | {"items"}
_COMPARE = OPTIONS | {"pairs"}
_RANK = OPTIONS | TURNS | {"candidates", "top_k"}
_SPEC = frozenset({"name", "source", "backend", "dtype", "device", "members", "conservatism"})


def decode_score(value: object, call: Call, limits: Limits) -> ScoreQuery:
    """``{items: [{prompt | messages, response}], ...options}``."""
    fields = read_object(value, _SCORE, "")
    asked = read_options(fields, call)
    return ScoreQuery(tuple(read_list(fields, "items", _conversation, limits=limits)), asked)


def decode_compare(value: object, call: Call, limits: Limits) -> CompareQuery:
    """``{pairs: [{prompt | messages, a, b}], ...options}``."""
    fields = read_object(value, _COMPARE, "")
    asked = read_options(fields, call)
    return CompareQuery(tuple(read_list(fields, "pairs", _pair, limits=limits)), asked)


def decode_rank(value: object, call: Call, limits: Limits) -> RankQuery:
    """``{prompt | messages, candidates: [..], top_k?, ...options}``."""
    fields = read_object(value, _RANK, "")
    asked, top_k = read_options(fields, call), read_whole(fields, "top_k")
    prompt = read_turns(fields, "")
    candidates = read_list(fields, "candidates", read_string, limits=limits)
    return RankQuery(prompt, tuple(candidates), top_k, asked)


def decode_spec(value: object, call: Call) -> ModelSpec:
    """``{name, source, backend?, dtype?, device?}``, or ``{name, members, conservatism?}``."""
    fields = read_object(value, _SPEC, "")
    given: dict[str, Any] = {key: read_name(fields, key) for key in ("backend", "dtype", "device")}
    given["conservatism"] = read_number(fields, "conservatism")
    source, members = read_name(fields, "source"), fields.get("members")
    if (source is None) == (members is None):
        raise InvalidInput("source is missing; give either source or members", param="source")
    if members is not None:
        given["members"] = tuple(read_list(fields, "members", _member))
    return ModelSpec(
        name=check_model_name(read_text(fields, "name"), "name"),
        source=source or "",
        **{key: value for key, value in given.items() if value is not None},
    )


def _member(value: object, path: str) -> str:
    return check_model_name(read_string(value, path), path)


def _conversation(value: object, path: str) -> Conversation:
    fields = read_object(value, _ITEM, path)
    return Conversation(read_turns(fields, path + "."), read_text(fields, "response", path + "."))


def _pair(value: object, path: str) -> Pair:
    fields = read_object(value, _PAIR, path)
    path += "."
    return Pair(read_turns(fields, path), read_text(fields, "a", path), read_text(fields, "b", path))
