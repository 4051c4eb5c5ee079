"""Scores of one request's entries, whoever gave them: one model or an ensemble."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, sqrt

from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.calibration import Calibration
from guerdon_service.core.fingerprint import artifact_digest
from guerdon_service.core.result import Provenance, Score, Usage
from guerdon_service.scoring.model_scorer import RawBatch
from guerdon_service.scoring.profiled import Profiled


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores in order, with what the verbs need to make preferences of them."""

    model: Provenance
    calibration: Calibration
    scores: list[Score]
    usage: Usage


def of_model(model: Profiled, batch: RawBatch, total_s: float) -> Scored:
    """Raw scores under a profile."""
    scores = [
        model.combined(raw, e.num_tokens, e.truncated, cached)
        for raw, e, cached in zip(batch.raw, batch.encoded, batch.cached, strict=True)
    ]
    usage = Usage(
        num_items=len(scores),
        num_tokens=sum([s.tokens for s in scores]),
        num_cached=sum(batch.cached),
        tokenize_s=batch.tokenize_s,
        queue_s=batch.queue_s,
        forward_s=batch.forward_s,
        total_s=total_s,
    )
    return Scored(model.provenance, model.calibration, scores, usage)


def of_members(spec: ModelSpec, members: Sequence[Scored], total_s: float) -> Scored:
    """An ensemble's scores: mean of the members' rewards less ``conservatism`` times their spread.

    The spread joins the sample standard deviation between members with the members' own, as
    independent; the calibration is the members' mean slope with pooled standard error.
    """
    first = members[0]
    columns = list(zip(*(m.scores for m in members), strict=True))
    scores = [_merge(spec, spec.members, column) for column in columns]
    provenance = Provenance(
        spec.name,
        "+".join(m.model.version for m in members),
        _digest(spec, members),
        first.model.profile,
        first.model.backend,
        first.model.dtype,
    )
    count = len(members)
    calibration = Calibration(
        slope=sum(m.calibration.slope for m in members) / count,
        slope_se=sqrt(sum(m.calibration.slope_se**2 for m in members)) / count,
        num_pairs=min(m.calibration.num_pairs for m in members),
    )
    usage = Usage(
        num_items=len(scores),
        num_tokens=sum(m.usage.num_tokens for m in members),
        num_cached=sum(s.cached for s in scores),
        tokenize_s=max(m.usage.tokenize_s for m in members),
        queue_s=max(m.usage.queue_s for m in members),
        forward_s=max(m.usage.forward_s for m in members),
        total_s=total_s,
    )
    return Scored(provenance, calibration, scores, usage)


def _digest(spec: ModelSpec, members: Sequence[Scored]) -> str:
    """SHA-256 (hex) of all that an ensemble's rewards depend on; no member's name is empty."""
    parts = {"": repr(float(spec.conservatism))}
    for name, member in zip(spec.members, members, strict=True):
        parts[name] = " ".join((member.model.digest, member.model.backend, member.model.dtype))
    return artifact_digest(parts)


def _merge(spec: ModelSpec, names: Sequence[str], column: tuple[Score, ...]) -> Score:
    count = len(column)
    mean = sum(s.reward for s in column) / count
    between = [(s.reward - mean) / sqrt(count - 1) for s in column]
    within = [d / count for s in column for d in s.deviations]
    deviations = (*between, *within)
    shared = [a for a in column[0].attributes if all(a in s.attributes for s in column)]
    return Score(
        reward=mean - spec.conservatism * hypot(*deviations),
        attributes={a: sum(s.attributes[a] for s in column) / count for a in shared},
        raw={f"{n}/{h}": v for n, s in zip(names, column, strict=True) for h, v in s.raw.items()},
        deviations=deviations,
        tokens=max(s.tokens for s in column),
        truncated=any(s.truncated for s in column),
        cached=all(s.cached for s in column),
    )
