"""What best-of-n gives."""

from dataclasses import dataclass
from typing import Literal

from guerdon.types.scoring import ModelRef, Score


@dataclass(frozen=True, slots=True)
class Candidate:
    """One sampled response with its score.

    index: its place among the n, whatever the order of arrival.
    finish_reason: ``length`` when it was cut at `max_tokens`.
    duplicate_of: index of an equal text that was scored first.
    """

    index: int
    response: str
    finish_reason: Literal["stop", "length"]
    score: Score
    duplicate_of: int | None


@dataclass(frozen=True, slots=True)
class BestOfNResult:
    """The choice and what it was chosen from.

    best: index of the chosen candidate; None when `abstained`.
    candidates: by index; fewer than n when `stopped_early` or `partial`.
    partial: the policy died or the deadline came first; the best of what had arrived was chosen.
    kl_upper_bound: how far the choice moved from the policy, at most, in nats.
    expected_win_rate: against one sample, at most.
    """

    policy: str
    model: ModelRef
    best: int | None
    candidates: tuple[Candidate, ...]
    abstained: bool
    partial: bool
    stopped_early: bool
    kl_upper_bound: float
    expected_win_rate: float
    total_ms: float
    request_id: str

    @property
    def chosen(self) -> Candidate | None:
        """The chosen candidate; None when abstained."""
        return next((c for c in self.candidates if c.index == self.best), None)
