"""Records of the known shapes to items. A record's shape is told from its fields.

- pair: ``prompt``, ``chosen``, ``rejected`` as texts or as one assistant turn each (RewardBench v1 is one);
- best of k: the same with lists of texts (RewardBench v2 is one), or ``responses`` with ``grades``, or with
  ``ranks``, 1 the best;
- style matrix: ``domain`` and two lists of equal length, plain to fancy (RM-Bench);
- judged: ``response_a``, ``response_b`` and a ``label`` (JudgeBench says ``response_A``, ``question``,
  ``A>B``).

Optional in all: ``id``, ``subset``, ``source``, ``language``, ``tags``, ``demographics``, ``votes``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from guerdon_service.core.conversation import ROLES, Message
from guerdon_service.evaluation.item import Item

Record = Mapping[str, Any]

_LABELS = {"a": (1.0, 0.0), "b": (0.0, 1.0), "tie": (0.5, 0.5)}
_LABELS |= {"a>b": _LABELS["a"], "b>a": _LABELS["b"], "a=b": _LABELS["tie"]}


class BadRecord(Exception):
    """Why a record is no item, and the remedy; the reader adds file and line."""


def to_item(record: Record, fallback_id: str, fallback_subset: str) -> Item:
    """The item of one record.

    Raises:
        BadRecord: its shape is unknown, or a field is missing or of the wrong kind.
    """
    prompt = _prompt(record)
    responses, grades, styles = _responses(record)
    _check_responses(responses, grades)
    votes, tie_votes = _votes(record.get("votes"), len(responses))
    if "chosen" in record and len(votes) == 2 and (votes[0] == votes[1] or tie_votes > votes[0]):
        grades = (1.0, 1.0)  # as in training: which of them is called chosen says nothing
    return Item(
        id=next((str(record[k]) for k in ("id", "pair_id") if record.get(k) is not None), fallback_id),
        prompt=prompt,
        responses=responses,
        grades=grades,
        subset=_subset(record, fallback_subset),
        votes=votes,
        tie_votes=tie_votes,
        styles=styles,
        tags=_tags(record),
        demographics=_demographics(record),
    )


def _prompt(record: Record) -> tuple[Message, ...]:
    given = record.get("prompt", record.get("question"))
    if isinstance(given, str) and given:
        return (Message("user", given),)
    if not isinstance(given, Sequence) or isinstance(given, str) or not given:
        raise BadRecord("prompt is missing; give a text or a list of {role, content}")
    return tuple(_message(turn) for turn in given)


def _message(turn: Any) -> Message:
    role, content = (turn.get("role"), turn.get("content")) if isinstance(turn, Mapping) else (None, None)
    if role not in ROLES or not isinstance(content, str):
        raise BadRecord(f"a turn of prompt is no {{role, content}} with a role of {', '.join(ROLES)}; fix it")
    return Message(role, content)


def _responses(record: Record) -> tuple[tuple[str, ...], tuple[float, ...], tuple[int, ...]]:
    if "chosen" in record and "rejected" in record:
        chosen, rejected = _texts(record["chosen"], "chosen"), _texts(record["rejected"], "rejected")
        levels = len(chosen)
        is_matrix = "domain" in record and levels > 1 and levels == len(rejected)
        styles = tuple(range(levels)) * 2 if is_matrix else ()
        low = 1.0 if record.get("label") == "tie" else 0.0
        return chosen + rejected, (1.0,) * levels + (low,) * len(rejected), styles
    if "responses" in record:
        is_ranking = "ranks" in record and "grades" not in record
        name, sign = ("ranks", -1.0) if is_ranking else ("grades", 1.0)
        grades = tuple(sign * number for number in _numbers(record.get(name), name))
        return _texts(record["responses"], "responses"), grades, ()
    a, b = (record.get(f"response_{x}", record.get(f"response_{x.upper()}")) for x in "ab")
    label = str(record.get("label", "")).lower().replace(" ", "")
    if not isinstance(a, str) or not isinstance(b, str):
        raise BadRecord(
            "it has neither chosen and rejected, responses and grades, nor response_a and response_b"
        )
    if label not in _LABELS:
        raise BadRecord(f"label is {label[:40]!r}; use one of {', '.join(_LABELS)}")
    return (a, b), _LABELS[label], ()


def _texts(value: Any, name: str) -> tuple[str, ...]:
    """One text, a list of texts, or a list with one assistant turn."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Sequence) and value and all(isinstance(v, str) for v in value):
        return tuple(value)
    if isinstance(value, Sequence) and len(value) == 1 and isinstance(value[0], Mapping):
        message = _message(value[0])
        if message.role == "assistant":
            return (message.content,)
    raise BadRecord(f"{name} is neither a text, a list of texts, nor one assistant turn; fix the line")


def _numbers(value: Any, name: str) -> tuple[float, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(_is_number(v) for v in value):
        raise BadRecord(f"{name} must be a list of numbers, one per response")
    return tuple(float(v) for v in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _check_responses(responses: Sequence[str], grades: Sequence[float]) -> None:
    if len(responses) < 2:
        raise BadRecord("it has one response; give two or more")
    if len(grades) != len(responses):
        raise BadRecord(f"it has {len(grades)} grades for {len(responses)} responses; give one each")
    if not all(responses):
        raise BadRecord("a response is empty; give its text or drop the line")
    if len(responses) == 2 and responses[0] == responses[1]:
        raise BadRecord("both responses are equal; drop the line")


def _subset(record: Record, fallback: str) -> str:
    return next((str(record[k]) for k in ("subset", "domain", "source") if record.get(k)), fallback)


def _votes(votes: Any, num_responses: int) -> tuple[tuple[float, ...], float]:
    """``{chosen, rejected, tie}`` or ``{a, b, tie}`` for a pair, a list with a count per response for any."""
    if votes is None:
        return (), 0.0
    tie = 0.0
    if isinstance(votes, Mapping) and num_responses == 2:
        first, second = ("a", "b") if {"a", "b"} & votes.keys() else ("chosen", "rejected")
        *votes, tie = _numbers([votes.get(first, 0), votes.get(second, 0), votes.get("tie", 0)], "votes")
    counts = _numbers(votes, "votes")
    if len(counts) != num_responses or min(*counts, tie) < 0 or sum(counts) + tie <= 0:
        raise BadRecord("votes must be {chosen, rejected, tie}, or a count per response, and not all zero")
    return counts, tie


def _tags(record: Record) -> tuple[str, ...]:
    """A list of texts, or an object whose entries become ``key=value``."""
    given = record.get("tags") or ()
    if isinstance(given, Mapping):
        given = [f"{key}={value}" for key, value in given.items()]
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise BadRecord("tags must be a list of texts, or an object such as {language: en}")
    named = [f"{key}={record[key]}" for key in ("source", "language") if record.get(key)]
    return tuple(dict.fromkeys([str(tag) for tag in given] + named))


def _demographics(record: Record) -> dict[str, str]:
    given = record.get("demographics") or {}
    if not isinstance(given, Mapping):
        raise BadRecord("demographics must be an object such as {gender: female}")
    return {str(key): str(value) for key, value in given.items() if value not in (None, "")}
