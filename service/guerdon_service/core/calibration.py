"""From a reward margin to a probability of preference.

Bradley-Terry with a fitted slope: P(a > b) = sigmoid(slope * margin), slope = 1 / temperature, fitted
without intercept on held-out pairs so that the order of presentation cannot matter.
"""

from dataclasses import dataclass
from math import exp, hypot

Z95 = 1.959963984540054
"""Two-sided 95 % quantile of the standard normal."""
_HUGE = 2.0**1022
"""Logits are cut here, far past where the sigmoid is 0 or 1, so that no infinity meets another."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Slope of the logistic link and its standard error; `num_pairs` it was fitted on (0: not fitted)."""

    slope: float = 1.0
    slope_se: float = 0.0
    num_pairs: int = 0


def sigmoid(x: float) -> float:
    """Logistic function with ``sigmoid(x) + sigmoid(-x) == 1.0`` exactly.

    The half above 0.5 is computed, the other is ``1 - p``, which is exact (Sterbenz).
    """
    p = 1.0 / (1.0 + exp(-abs(x)))
    return p if x >= 0 else 1.0 - p


def probability(margin: float, margin_std: float, calibration: Calibration) -> tuple[float, float, float]:
    """P(a > b) and its 95 % interval.

    Args:
        margin: reward of a less reward of b.
        margin_std: standard deviation of the margin over ensemble members; 0.0 for a single model.

    Returns:
        ``(p, low, high)``. The interval is the delta method on the logit: the slope's standard error
        and the ensemble's spread, taken as independent. Holds for any margin, overflow included.
        0 to 1 where the slope was not fitted: how far it is off is not known.
    """
    margin = _cut(margin)
    logit = _cut(calibration.slope * margin)
    if calibration.num_pairs == 0:
        return sigmoid(logit), 0.0, 1.0
    half = _cut(Z95 * hypot(margin * calibration.slope_se, calibration.slope * margin_std))
    return sigmoid(logit), sigmoid(logit - half), sigmoid(logit + half)


def _cut(x: float) -> float:
    return max(min(x, _HUGE), -_HUGE)  # in this order NaN stays NaN
