"""Results to JSON bytes. Field names and their order are those of the proto."""

from dataclasses import asdict

import orjson

from guerdon_service.core.artifact import ModelInfo
from guerdon_service.core.call import wire_text
from guerdon_service.core.manifest import Manifest
from guerdon_service.core.result import (
    CompareResult,
    Preference,
    Provenance,
    RankedCandidate,
    RankResult,
    Score,
    ScoreResult,
    Usage,
)


def render_score(result: ScoreResult, request_id: str) -> bytes:
    """``{model, scores, usage, request_id}``."""
    scores = [score_fields(score) for score in result.scores]
    return _reply(result.model, "scores", scores, result.usage, request_id)


def render_compare(result: CompareResult, request_id: str) -> bytes:
    """``{model, preferences, usage, request_id}``."""
    preferences = [_preference(preference) for preference in result.preferences]
    return _reply(result.model, "preferences", preferences, result.usage, request_id)


def render_rank(result: RankResult, request_id: str) -> bytes:
    """``{model, results, usage, request_id}``."""
    results = [_candidate(candidate) for candidate in result.results]
    return _reply(result.model, "results", results, result.usage, request_id)


def render_models(models: tuple[ModelInfo, ...]) -> bytes:
    """``{models: [...]}``."""
    return dump({"models": models})


def render_model(info: ModelInfo, manifest: Manifest | None) -> bytes:
    """One model; its whole manifest stands beside what the list says, null until it is loaded."""
    return dump({**asdict(info), "manifest": manifest})


def render_error(code: str, message: str, param: str | None, retry_after_ms: int | None) -> bytes:
    """``{error: {code, message, param, retry_after_ms}}``, the one shape of every failure."""
    error = {
        "code": code,
        "message": wire_text(message),
        "param": None if param is None else wire_text(param),
        "retry_after_ms": retry_after_ms,
    }
    return dump({"error": error})


def _reply(model: Provenance, name: str, values: object, usage: Usage, request_id: str) -> bytes:
    return dump({"model": model, name: values, "usage": _usage(usage), "request_id": request_id})


def _usage(usage: Usage) -> dict[str, float]:
    return {
        "items": usage.num_items,
        "tokens": usage.num_tokens,
        "cached": usage.num_cached,
        "tokenize_ms": usage.tokenize_s * 1000,
        "queue_ms": usage.queue_s * 1000,
        "forward_ms": usage.forward_s * 1000,
        "total_ms": usage.total_s * 1000,
    }


def _candidate(candidate: RankedCandidate) -> dict[str, object]:
    score = candidate.score
    return {
        "index": candidate.index,
        "reward": score.reward,
        "p_best": candidate.p_best,
        "std": score.std,
        "score": score_fields(score),
    }


def _preference(preference: Preference) -> dict[str, object]:
    return {
        "p_a": preference.p_a,
        "low": preference.low,
        "high": preference.high,
        "margin": preference.margin,
        "preferred": preference.preferred,
        "a": score_fields(preference.a),
        "b": score_fields(preference.b),
    }


def score_fields(score: Score) -> dict[str, object]:
    """A score as replies have it; what its members say is for preferences alone."""
    return {
        "reward": score.reward,
        "attributes": score.attributes,
        "raw": score.raw,
        "std": score.std,
        "tokens": score.tokens,
        "truncated": score.truncated,
        "cached": score.cached,
    }


def dump(value: object) -> bytes:
    """JSON bytes of plain values, dataclasses and mappings."""
    return orjson.dumps(value, default=dict)
