"""McNemar's test of two classifiers on the same items, exact."""

from dataclasses import dataclass
from math import exp, lgamma, log

import numpy as np
from numpy.typing import ArrayLike

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.statistics.arrays import shares
from guerdon_service.core.statistics.beta import binomial_cdf


@dataclass(frozen=True, slots=True)
class McNemar:
    """Two-sided test that wins and losses are equally likely, items independent.

    wins, losses: discordant items.
    p_value: exact; never above its level, and well below it with few discordant items.
    mid_p: half the probability of the outcome itself left out; close to its level on average
        (Fagerland, Lydersen and Laake, 2013). What to quote.
    """

    wins: int
    losses: int
    p_value: float
    mid_p: float


def mcnemar(wins: int, losses: int) -> McNemar:
    """Exact binomial test of `wins` against `losses`; no discordant item gives 1.0.

    Raises:
        InvalidInput: a negative count.
    """
    if min(wins, losses) < 0:
        raise InvalidInput("wins and losses must not be negative", param="wins")
    n, fewer = wins + losses, min(wins, losses)
    tail = 2.0 * binomial_cdf(fewer, n, 0.5)
    return McNemar(wins, losses, min(1.0, tail), min(1.0, tail - _outcome(fewer, n)))


def mcnemar_paired(candidate: ArrayLike, baseline: ArrayLike) -> McNemar:
    """McNemar's test from correctness per item.

    A tie counts 0.5, so differences can be +-0.5: their sign alone counts, which makes this the sign test. It
    remains exact where the two are equally likely to come out ahead on an item.

    Args:
        candidate, baseline: float64 [N] in [0, 1], the same items in the same order.

    Raises:
        InvalidInput: lengths differ, or a value outside [0, 1].
    """
    first = shares(candidate, "candidate")
    second = shares(baseline, "baseline", size=len(first))
    return mcnemar(int(np.sum(first > second)), int(np.sum(first < second)))


def _outcome(k: int, n: int) -> float:
    """P(X = k) for X ~ Binomial(n, 1/2), from log-gammas: no power of two overflows."""
    return exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) - n * log(2.0))
