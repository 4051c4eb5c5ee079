"""JSON to a `PolicyEvaluationQuery`, and what came of it to JSON."""

from dataclasses import fields
from typing import Any

from guerdon_service.core.call import Call
from guerdon_service.core.generation import SamplingParams
from guerdon_service.core.limits import Limits
from guerdon_service.core.policy_evaluation import (
    PolicyEvaluation,
    PolicyEvaluationProgress,
    PolicyEvaluationQuery,
    PolicyPrompt,
)
from guerdon_service.rest.fields import (
    TURNS,
    Fields,
    read_flag,
    read_list,
    read_name,
    read_number,
    read_object,
    read_options,
    read_string,
    read_text,
    read_turns,
    read_whole,
    valid_unicode,
)
from guerdon_service.rest.render import dump

_WHOLE = ("max_tokens", "seed")
_SAMPLING = (*_WHOLE, "temperature", "top_p")
_NAMES = ("baseline", "reference", "gold", "judge")
_KNOWN = frozenset({"policies", "prompts", "n", "model", "profile", "stream", *_NAMES, *_SAMPLING})
_PROMPT = TURNS | {"baseline_response"}


def decode_policy_evaluation(value: object, call: Call, limits: Limits) -> tuple[PolicyEvaluationQuery, bool]:
    """``{policies, prompts: [{prompt | messages, baseline_response?}], ...}``; whether to stream."""
    given = read_object(value, _KNOWN, "")
    n = read_whole(given, "n")
    query = PolicyEvaluationQuery(
        policies=tuple(read_list(given, "policies", _policy, limits=limits)),
        prompts=tuple(read_list(given, "prompts", _prompt, limits=limits)),
        n=1 if n is None else n,
        params=SamplingParams(**_sampling(given)),
        options=read_options(given, call),
        **{name: read_name(given, name) or None for name in _NAMES},
    )
    return query, read_flag(given, "stream")


def render_policy_evaluation(result: PolicyEvaluation, request_id: str) -> bytes:
    """Everything that was found."""
    found = {f.name: getattr(result, f.name) for f in fields(result) if f.name != "total_s"}
    return dump(found | {"total_ms": result.total_s * 1000, "request_id": request_id})


def render_progress(progress: PolicyEvaluationProgress) -> bytes:
    """Steps done, of all."""
    return dump(progress)


def _policy(value: object, path: str) -> str:
    return valid_unicode(read_string(value, path), path)


def _prompt(value: object, path: str) -> PolicyPrompt:
    given = read_object(value, _PROMPT, path)
    has_response = given.get("baseline_response") is not None
    response = read_text(given, "baseline_response", f"{path}.") if has_response else None
    return PolicyPrompt(read_turns(given, f"{path}."), response)


def _sampling(given: Fields) -> dict[str, Any]:
    """The numbers that were given; the core's defaults stand for the others."""
    read = {name: (read_whole if name in _WHOLE else read_number)(given, name) for name in _SAMPLING}
    return {name: value for name, value in read.items() if value is not None}
