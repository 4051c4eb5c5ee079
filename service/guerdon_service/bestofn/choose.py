"""Which candidate to take, and when no more are worth waiting for. Pure."""

from collections.abc import Sequence
from math import inf

import numpy as np

from guerdon_service.core.best_of_n import BestOfNQuery, ScoredCandidate

_CHOICE = 2**32
"""Sets the choice's random numbers apart from the candidates', whose index stands in its place."""


def value(candidate: ScoredCandidate, conservatism: float) -> float:
    """What the choice goes by: ``reward - conservatism * std`` (Coste et al., arXiv 2310.02743)."""
    return candidate.score.reward - conservatism * candidate.score.std


def choose(candidates: Sequence[ScoredCandidate], query: BestOfNQuery) -> int | None:
    """Index of the chosen candidate; None where it abstains.

    The best value wins, of equal ones the lowest index. With `choice_temperature` T a candidate is drawn with
    probability proportional to ``exp(value / T)`` (soft best-of-n, arXiv 2505.03156), by the seed alone.

    Args:
        candidates: at least one, in any order.
    """
    ordered = sorted(candidates, key=lambda c: c.generated.index)
    if margin(ordered, query.conservatism) < query.min_margin:
        return None
    values = np.array([value(c, query.conservatism) for c in ordered])
    if query.choice_temperature == 0.0:
        return ordered[int(values.argmax())].generated.index
    weights = np.exp((values - values.max()) / query.choice_temperature).cumsum()
    noise = np.random.default_rng([query.params.seed % 2**64, _CHOICE]).random()
    return ordered[int(np.searchsorted(weights, noise * weights[-1], side="right"))].generated.index


def margin(candidates: Sequence[ScoredCandidate], conservatism: float) -> float:
    """Lead of the best text over the second best one; infinite with one text, however often it was drawn."""
    by_text = {c.generated.text: value(c, conservatism) for c in candidates}
    best, *rest = sorted(by_text.values(), reverse=True)
    return best - rest[0] if rest else inf
