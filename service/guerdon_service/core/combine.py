"""Raw heads to one reward: normalise, average ensemble members, weigh attributes."""

from collections.abc import Callable
from math import hypot, sqrt

from guerdon_service.core.manifest import Head, Manifest, Profile
from guerdon_service.core.ports import RawScores
from guerdon_service.core.result import Score

Combiner = Callable[[RawScores, int, bool, bool], Score]
"""Raw heads of a conversation, its tokens, whether it was truncated, whether it was cached: to its score."""


def combine(
    raw: RawScores, manifest: Manifest, profile: Profile, *, tokens: int, truncated: bool, cached: bool
) -> Score:
    """Score of one conversation under one profile.

    Each attribute is the mean of its normalised member heads; std adds the members' sample variances of all
    attributes, weighted, as independent; reward is ``sum(w * attribute) - k * std``.

    Args:
        raw: float32 [num_heads], in the order of ``manifest.heads``.
    """
    return combiner(manifest, profile)(raw, tokens, truncated, cached)


def combiner(manifest: Manifest, profile: Profile) -> Combiner:
    """`combine` for many conversations: what is the same for all is looked up once."""
    heads, conservatism = manifest.heads, profile.conservatism
    names = [head.name for head in heads]
    norms = [(head.attribute, head.norm.mean, head.norm.std) for head in heads]
    weights = tuple(profile.weights.items())
    has_members = len({head.attribute for head in heads}) < len(heads)

    def combined(raw: RawScores, tokens: int, truncated: bool, cached: bool) -> Score:
        values = raw.tolist()
        deviations: tuple[float, ...] = ()
        if has_members:
            members = _members(values, heads)
            attributes = {name: sum(own) / len(own) for name, own in members.items()}
            deviations = _deviations(members, weights)
        else:
            attributes = {
                name: (value - mean) / spread
                for (name, mean, spread), value in zip(norms, values, strict=True)
            }
        total = 0.0
        for name, weight in weights:
            total += weight * attributes[name]
        return Score(
            total - conservatism * hypot(*deviations),
            attributes,
            dict(zip(names, values, strict=True)),
            deviations,
            tokens,
            truncated,
            cached,
        )

    return combined


def _members(raw: list[float], heads: tuple[Head, ...]) -> dict[str, list[float]]:
    members: dict[str, list[float]] = {}
    for head, value in zip(heads, raw, strict=True):
        members.setdefault(head.attribute, []).append((value - head.norm.mean) / head.norm.std)
    return members


def _deviations(members: dict[str, list[float]], weights: tuple[tuple[str, float], ...]) -> tuple[float, ...]:
    """See `Score`; the squares of an attribute's sum up to its members' sample variance, weighted."""
    found: list[float] = []
    for name, weight in weights:
        values = members[name]
        if len(values) > 1:
            mean, scale = sum(values) / len(values), weight / sqrt(len(values) - 1)
            found += [scale * (v - mean) for v in values]
    return tuple(found)
