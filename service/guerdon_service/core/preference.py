"""Preferences from scores: pairs and best-of-n."""

from collections.abc import Sequence
from math import dist, exp

from guerdon_service.core.calibration import Calibration, probability
from guerdon_service.core.result import Preference, Preferred, RankedCandidate, Score


def prefer(a: Score, b: Score, calibration: Calibration) -> Preference:
    """P(a is preferred) with its interval; swapping a and b gives exactly one minus each number."""
    margin = a.reward - b.reward
    p_a, low, high = probability(margin, dist(a.deviations, b.deviations), calibration)
    preferred: Preferred = "tie" if margin == 0 else ("a" if margin > 0 else "b")
    return Preference(p_a, low, high, margin, preferred, a, b)


def rank(scores: Sequence[Score], calibration: Calibration, top_k: int | None) -> tuple[RankedCandidate, ...]:
    """Best first; equal rewards keep their order.

    `p_best` is the Plackett-Luce first choice, softmax(slope * reward) over *all* candidates (Luce
    1959), so the kept ones need not sum to one.
    """
    top = max(s.reward for s in scores)
    weights = [exp(calibration.slope * (s.reward - top)) for s in scores]
    total = sum(weights)
    order = sorted(range(len(scores)), key=lambda i: -scores[i].reward)
    return tuple(RankedCandidate(i, weights[i] / total, scores[i]) for i in order[:top_k])
