"""What callers get: one frozen dataclass per verb, each with its provenance."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import hypot
from typing import Literal

Preferred = Literal["a", "b", "tie"]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Which model gave the numbers."""

    name: str
    version: str
    digest: str
    profile: str
    backend: str
    """e.g. ``torch`` or ``onnxruntime``."""
    dtype: str
    """e.g. ``float32``, ``bfloat16``, ``int8``."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a request cost. Times in seconds."""

    num_items: int
    num_tokens: int
    num_cached: int
    tokenize_s: float
    queue_s: float
    forward_s: float
    total_s: float


@dataclass(frozen=True, slots=True)
class Score:
    """One conversation's reward.

    reward: what to sort by: the profile's weighted sum of `attributes`, less k times `std`.
    attributes: normalised value by attribute name.
    raw: head output by head name, exactly as the model gave it; no activation is ever applied.
    deviations: how far each ensemble member is from their mean, scaled so that the Euclidean norm is `std`.
        Always in the same order, so that the distance between those of two scores is the spread of the
        members' margins: what members share cancels. Empty for a model with one member.
    """

    reward: float
    attributes: Mapping[str, float]
    raw: Mapping[str, float]
    deviations: tuple[float, ...]
    tokens: int
    truncated: bool
    cached: bool

    @property
    def std(self) -> float:
        """Spread of ensemble members behind `reward`; 0.0 for a model with one member."""
        return hypot(*self.deviations)


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """Scores in the order of the query's items."""

    model: Provenance
    scores: tuple[Score, ...]
    usage: Usage


@dataclass(frozen=True, slots=True)
class Preference:
    """P(a is preferred to b), with a 95 % interval. P(a, b) + P(b, a) is exactly 1.

    Of a model that is not calibrated the interval is 0 to 1, as it is not known.
    """

    p_a: float
    low: float
    high: float
    margin: float
    """Reward of a less reward of b."""
    preferred: Preferred
    a: Score
    b: Score


@dataclass(frozen=True, slots=True)
class CompareResult:
    """Preferences in the order of the query's pairs."""

    model: Provenance
    preferences: tuple[Preference, ...]
    usage: Usage


@dataclass(frozen=True, slots=True)
class RankedCandidate:
    """One candidate; `index` is its place in the query, `p_best` its chance of being the best one."""

    index: int
    p_best: float
    score: Score


@dataclass(frozen=True, slots=True)
class RankResult:
    """Candidates best first; equal rewards keep the query's order."""

    model: Provenance
    results: tuple[RankedCandidate, ...]
    usage: Usage
