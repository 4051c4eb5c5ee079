"""The standard normal distribution."""

from math import erfc, sqrt
from statistics import NormalDist

_STANDARD = NormalDist()


def normal_cdf(x: float) -> float:
    """P(Z <= x), to full relative precision in the lower tail."""
    return 0.5 * erfc(-x / sqrt(2.0))


def normal_quantile(probability: float) -> float:
    """x with P(Z <= x) = probability, 0 < probability < 1."""
    return _STANDARD.inv_cdf(probability)
