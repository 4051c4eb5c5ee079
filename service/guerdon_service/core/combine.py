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
    heads, values = manifest.heads, raw.tolist()
    members = _members(values, heads)
    attributes = {name: sum(own) / len(own) for name, own in members.items()}
    std = _std(members, profile) if len(members) < len(heads) else 0.0
    total = sum(weight * attributes[name] for name, weight in profile.weights.items())
    return Score(
        reward=total - profile.conservatism * std,
        attributes=attributes,
        raw={head.name: value for head, value in zip(heads, values, strict=True)},
        std=std,
        tokens=tokens,
        truncated=truncated,
        cached=cached,
    )


def _members(raw: list[float], heads: tuple[Head, ...]) -> dict[str, list[float]]:
    members: dict[str, list[float]] = {}
    for head, value in zip(heads, raw, strict=True):
        members.setdefault(head.attribute, []).append((value - head.norm.mean) / head.norm.std)
    return members


def _std(members: dict[str, list[float]], profile: Profile) -> float:
    return sqrt(sum(profile.weights.get(n, 0.0) ** 2 * _variance(v) for n, v in members.items()))


def _variance(values: list[float]) -> float:
    if len(values) < 2:
        return 0.0
    mean = sum(values) / len(values)
    return sum((v - mean) ** 2 for v in values) / (len(values) - 1)
