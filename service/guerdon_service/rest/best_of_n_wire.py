"""JSON to a `BestOfNQuery`, and what came of it to JSON."""

from typing import Any

from guerdon_service.core.best_of_n import BestOfNQuery, BestOfNResult, ScoredCandidate
from guerdon_service.core.call import Call
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.generation import SamplingParams
from guerdon_service.rest.fields import (
    TURNS,
    Fields,
    read_flag,
    read_id,
    read_number,
    read_object,
    read_options,
    read_turns,
    read_whole,
)
from guerdon_service.rest.render import dump, score_fields

_SAMPLING = frozenset({"max_tokens", "temperature", "top_p", "seed"})
_CHOICE = frozenset({"conservatism", "choice_temperature", "min_margin", "patience"})
_KNOWN = TURNS | _SAMPLING | _CHOICE | {"policy", "n", "stream", "model", "profile", "deadline_ms"}
_WHOLE = frozenset({"max_tokens", "seed", "patience"})


def decode_best_of_n(value: object, call: Call) -> tuple[BestOfNQuery, bool]:
    """``{policy, n, prompt | messages, sampling?, choice?, ...options, stream?}``; whether to stream."""
    fields = read_object(value, _KNOWN, "")
    n = read_whole(fields, "n")
    if n is None:
        raise InvalidInput("n is missing; give how many responses to sample", param="n")
    query = BestOfNQuery(
        policy=read_id(fields, "policy"),
        prompt=read_turns(fields, ""),
        n=n,
        params=SamplingParams(**_given(fields, _SAMPLING)),
        options=read_options(fields, call),
        **_given(fields, _CHOICE),
    )
    return query, read_flag(fields, "stream")


def render_best_of_n(result: BestOfNResult, request_id: str) -> bytes:
    """The choice, what it was chosen from, and the bounds."""
    return dump(
        {
            "policy": result.policy,
            "model": result.model,
            "best": result.best,
            "candidates": [_candidate(candidate) for candidate in result.candidates],
            "abstained": result.abstained,
            "partial": result.partial,
            "stopped_early": result.stopped_early,
            "kl_upper_bound": result.kl_upper_bound,
            "expected_win_rate": result.expected_win_rate,
            "total_ms": result.total_s * 1000,
            "request_id": request_id,
        }
    )


def render_candidate(candidate: ScoredCandidate) -> bytes:
    """One scored response."""
    return dump(_candidate(candidate))


def _candidate(candidate: ScoredCandidate) -> dict[str, object]:
    generated = candidate.generated
    return {
        "index": generated.index,
        "response": generated.text,
        "finish_reason": generated.finish_reason,
        "score": score_fields(candidate.score),
        "duplicate_of": candidate.duplicate_of,
    }


def _given(fields: Fields, names: frozenset[str]) -> dict[str, Any]:
    """The numbers that were given; the core's defaults stand for the others."""
    read = {name: (read_whole if name in _WHOLE else read_number)(fields, name) for name in sorted(names)}
    return {name: value for name, value in read.items() if value is not None}
