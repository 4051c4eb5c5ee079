"""A median with its exact interval, whatever the distribution."""

import numpy as np
from numpy.typing import ArrayLike

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.statistics.arrays import check_open_share, floats
from guerdon_service.core.statistics.beta import binomial_cdf
from guerdon_service.core.statistics.interval import Interval


def median_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """The sample's median between two of its order statistics (Thompson, 1936).

    How many of `n` independent values lie below the true median is binomial (n, 1/2), so the k-th smallest
    and the k-th largest hold it between them but for ``2 P(fewer than k)``; k is the largest that keeps
    `confidence`. It covers at least as often as it says; equal values only make it cover more often.

    Args:
        values: float64 [N], N >= 6 at 95 %.

    Raises:
        InvalidInput: a value that is not finite, or too few for an interval at `confidence`.
    """
    check_open_share(confidence, "confidence")
    ordered = np.sort(floats(values, "values"))
    n, each = len(ordered), (1.0 - confidence) / 2.0
    rank = sum(binomial_cdf(below, n, 0.5) <= each for below in range(n // 2))
    if rank == 0:
        raise InvalidInput(
            f"{n} values are too few for an interval at {confidence:g}; give more", param="values"
        )
    return Interval(float(np.median(ordered)), float(ordered[rank - 1]), float(ordered[n - rank]))
