"""Raw heads to one reward: normalise, average ensemble members, weigh attributes."""

from math import sqrt

from guerdon_service.core.manifest import Head, Manifest, Profile
from guerdon_service.core.ports import RawScores
from guerdon_service.core.result import Score


def combine(
    raw: RawScores, manifest: Manifest, profile: Profile, *, tokens: int, truncated: bool, cached: bool
) -> Score:
    """Score of one conversation under one profile.

    Each attribute is the mean of its normalised member heads; std adds the members' sample variances,
    weighted, as independent; reward is ``sum(w * attribute) - k * std``.

    Args:
        raw: float32 [num_heads], in the order of ``manifest.heads``.
    """
    members = _members(raw, manifest.heads)
    attributes = {name: sum(values) / len(values) for name, values in members.items()}
    variance = sum(profile.weights.get(n, 0.0) ** 2 * _variance(v) for n, v in members.items())
    std = sqrt(variance)
    total = sum(weight * attributes[name] for name, weight in profile.weights.items())
    return Score(
        reward=total - profile.conservatism * std,
        attributes=attributes,
        raw={head.name: float(value) for head, value in zip(manifest.heads, raw, strict=True)},
        std=std,
        tokens=tokens,
        truncated=truncated,
        cached=cached,
    )


def _members(raw: RawScores, heads: tuple[Head, ...]) -> dict[str, list[float]]:
    members: dict[str, list[float]] = {}
    for head, value in zip(heads, raw, strict=True):
        members.setdefault(head.attribute, []).append((float(value) - head.norm.mean) / head.norm.std)
    return members


def _variance(values: list[float]) -> float:
    if len(values) < 2:
        return 0.0
    mean = sum(values) / len(values)
    return sum((v - mean) ** 2 for v in values) / (len(values) - 1)
