"""The wire's dictionaries to typed results; fields that this client does not know are ignored."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from guerdon.errors import InvalidReply, ModelChanged
from guerdon.types import (
    CompareResult,
    ModelInfo,
    ModelRef,
    Preference,
    RankedCandidate,
    RankResult,
    Score,
    ScoreResult,
    Usage,
)

T = TypeVar("T")
Wire = Mapping[str, Any]


def score_result(replies: Sequence[Wire]) -> ScoreResult:
    """Join the replies of one call's requests, in order."""
    scores = tuple(build(Score, s) for reply in replies for s in reply["scores"])
    return ScoreResult(one_model(replies), scores, total_usage(replies), request_ids(replies))


def compare_result(replies: Sequence[Wire]) -> CompareResult:
    """Join the replies of one call's requests, in order."""
    preferences = tuple(_preference(p) for reply in replies for p in reply["preferences"])
    return CompareResult(one_model(replies), preferences, total_usage(replies), request_ids(replies))


def rank_result(reply: Wire, num_results: int) -> RankResult:
    """Candidates best first; the reply must hold `num_results`."""
    check_length(reply, "results", num_results)
    results = tuple(
        build(RankedCandidate, r, score=build(Score, get(r, "score"))) for r in get(reply, "results")
    )
    return RankResult(one_model([reply]), results, total_usage([reply]), request_ids([reply]))


def model_info(wire: Wire) -> ModelInfo:
    """One entry of ``GET /v1/models``."""
    lists = {name: tuple(get(wire, name)) for name in ("heads", "profiles", "inferred")}
    return build(ModelInfo, wire, **lists, aliases=tuple(wire.get("aliases", ())))


def one_model(replies: Sequence[Wire]) -> ModelRef:
    """The model of all replies.

    Raises:
        ModelChanged: they differ, e.g. because a version was promoted between two requests.
    """
    first, *others = map(model_of, replies)
    for other in others:
        if other != first:
            raise ModelChanged(
                f"the model changed from {first.name} {first.version} ({first.digest[:12]}) to "
                f"{other.name} {other.version} ({other.digest[:12]}) during the call; call again"
            )
    return first


def model_of(reply: Wire) -> ModelRef:
    """Which model gave the reply."""
    return build(ModelRef, get(reply, "model"))


def total_usage(replies: Sequence[Wire]) -> Usage:
    """Sum over the replies, times included; see `Usage`."""
    usages = [build(Usage, get(reply, "usage")) for reply in replies]
    return Usage(*(sum(getattr(u, f.name) for u in usages) for f in fields(Usage)))


def request_ids(replies: Sequence[Wire]) -> tuple[str, ...]:
    """Ids under which the service logged the requests."""
    return tuple(str(get(reply, "request_id")) for reply in replies)


def check_length(reply: Wire, field: str, expected: int) -> None:
    """Refuse a reply that lost or invented an answer.

    Raises:
        InvalidReply: `field` is not a list of `expected` entries.
    """
    answers = reply.get(field)
    if not isinstance(answers, list) or len(answers) != expected:
        got = len(answers) if isinstance(answers, list) else "none"
        raise InvalidReply(
            f"the reply should hold {expected} {field} and holds {got}; is this Guerdon's URL?"
        )


def _preference(wire: Wire) -> Preference:
    return build(Preference, wire, a=build(Score, get(wire, "a")), b=build(Score, get(wire, "b")))


def build(cls: type[T], wire: Wire, **built: Any) -> T:
    """A `cls` of the fields of `wire`, but for those that are `built` already; a map's names are in order."""
    names = [f.name for f in fields(cls) if f.name not in built]  # type: ignore[arg-type]
    return cls(**({name: _ordered(get(wire, name)) for name in names} | built))


def _ordered(value: Any) -> Any:
    """A map by name: over gRPC it has no order of its own."""
    return dict(sorted(value.items())) if isinstance(value, dict) else value


def get(wire: Wire, name: str) -> Any:
    """A field that the reply must have.

    Raises:
        InvalidReply: it lacks it.
    """
    if not isinstance(wire, Mapping) or name not in wire:
        raise InvalidReply(f"the reply lacks {name}; is this Guerdon's URL, and is the service as new?")
    return wire[name]
