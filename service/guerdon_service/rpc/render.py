"""Results to protobuf messages."""

from collections.abc import Mapping, MutableMapping
from functools import lru_cache

from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_service.core.artifact import ModelInfo
from guerdon_service.core.call import wire_text
from guerdon_service.core.errors import GuerdonError
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


def render_score(result: ScoreResult, request_id: str) -> pb.ScoreResponse:
    """``{model, scores, usage, request_id}``."""
    return pb.ScoreResponse(
        model=render_model(result.model),
        scores=[render_one_score(score) for score in result.scores],
        usage=_usage(result.usage),
        request_id=request_id,
    )


def render_compare(result: CompareResult, request_id: str) -> pb.CompareResponse:
    """``{model, preferences, usage, request_id}``."""
    return pb.CompareResponse(
        model=render_model(result.model),
        preferences=[_preference(preference) for preference in result.preferences],
        usage=_usage(result.usage),
        request_id=request_id,
    )


def render_rank(result: RankResult, request_id: str) -> pb.RankResponse:
    """``{model, results, usage, request_id}``."""
    return pb.RankResponse(
        model=render_model(result.model),
        results=[_candidate(candidate) for candidate in result.results],
        usage=_usage(result.usage),
        request_id=request_id,
    )


def render_models(models: tuple[ModelInfo, ...]) -> pb.ListModelsResponse:
    """``{models: [...]}``."""
    return pb.ListModelsResponse(models=[_info(info) for info in models])


def render_error(error: GuerdonError) -> pb.Error:
    """A failure; `code`, `message`, `param` and `retry_after_ms` as over REST."""
    return pb.Error(
        code=error.code,
        message=wire_text(error.message),
        param=None if error.param is None else wire_text(error.param),
        retry_after_ms=error.retry_after_ms,
    )


@lru_cache(64)
def render_model(model: Provenance) -> pb.ModelRef:
    """Which model gave the numbers; nearly always the one that gave the last."""
    return pb.ModelRef(
        name=model.name,
        version=model.version,
        digest=model.digest,
        profile=model.profile,
        backend=model.backend,
        dtype=model.dtype,
    )


def render_one_score(score: Score) -> pb.Score:
    """One conversation's reward."""
    told = pb.Score(
        reward=score.reward,
        std=score.std,
        tokens=score.tokens,
        truncated=score.truncated,
        cached=score.cached,
    )
    _fill(told.attributes, score.attributes)
    _fill(told.raw, score.raw)
    return told


def _fill(field: MutableMapping[str, float], values: Mapping[str, float]) -> None:
    """As ``update`` does, which asks four times as much for a few values."""
    for name, value in values.items():
        field[name] = value


def _usage(usage: Usage) -> pb.Usage:
    return pb.Usage(
        items=usage.num_items,
        tokens=usage.num_tokens,
        cached=usage.num_cached,
        tokenize_ms=usage.tokenize_s * 1000,
        queue_ms=usage.queue_s * 1000,
        forward_ms=usage.forward_s * 1000,
        total_ms=usage.total_s * 1000,
    )


def _preference(preference: Preference) -> pb.Preference:
    return pb.Preference(
        p_a=preference.p_a,
        low=preference.low,
        high=preference.high,
        margin=preference.margin,
        preferred=preference.preferred,
        a=render_one_score(preference.a),
        b=render_one_score(preference.b),
    )


def _candidate(candidate: RankedCandidate) -> pb.RankedCandidate:
    return pb.RankedCandidate(
        index=candidate.index,
        reward=candidate.score.reward,
        p_best=candidate.p_best,
        std=candidate.score.std,
        score=render_one_score(candidate.score),
    )


def _info(info: ModelInfo) -> pb.ModelInfo:
    return pb.ModelInfo(
        name=info.name,
        version=info.version,
        digest=info.digest,
        backend=info.backend,
        dtype=info.dtype,
        heads=info.heads,
        profiles=info.profiles,
        max_tokens=info.max_tokens,
        state=info.state,
        default=info.default,
        inferred=info.inferred,
        certificate=[pb.Check(name=c.name, passed=c.passed, detail=c.detail) for c in info.certificate],
        aliases=info.aliases,
    )
