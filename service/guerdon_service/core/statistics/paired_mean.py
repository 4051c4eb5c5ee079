"""Mean of paired differences in [-1, 1] with dependent clusters: the test behind every verdict.

The estimate is D / N, D the sum of the differences and N the number of items. Its variance under a null value
is the cluster-robust one (Liang and Zeger, 1986; Miller, arXiv 2411.00640) with two corrections for rare
differences, where a plain normal interval is far too narrow:
- one more discordant cluster, of the typical size s: half of the correction by Laplace that Bonett and Price
  (2012) give for independent pairs;
- a floor: a null value other than 0 implies that clusters differ at least so often as to make it up. For
  independent pairs this is the restricted variance of Tango (1998) with no win, where it matters.
Student's t with the effective number of clusters less one takes the place of the normal. For independent
pairs, n >= 50, the exact one-sided level at a nominal 2.5 % is at most 3.6 %.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from guerdon_service.core.statistics.arrays import Floats, Ints
from guerdon_service.core.statistics.beta import student_quantile, student_tail
from guerdon_service.core.statistics.interval import Interval


@dataclass(frozen=True, slots=True)
class PairedMean:
    """What the differences d_g and sizes n_g of the clusters come to.

    value: the mean difference, D / N.
    num_items: N.
    variance: of the mean, at any null value that the floor does not reach.
    cluster_size: s, the typical difference of a cluster that shows any.
    df: effective number of clusters, N ** 2 / sum(n_g ** 2), less one.
    """

    value: float
    num_items: int
    variance: float
    cluster_size: float
    df: float

    def tail(self, null: float) -> float:
        """One-sided p-value of "the true mean is at most `null`", `null` <= 0: the largest over those means."""
        if self.df <= 0.0:
            return 1.0
        least = min(self._statistic(null), self._statistic(min(null, -abs(self.value))))
        return student_tail(least, self.df)

    def interval(self, confidence: float) -> Interval:
        """The null values that the two-sided test at ``1 - confidence`` does not reject."""
        if self.df <= 0.0:
            return Interval(self.value, -1.0, 1.0)
        t = student_quantile((1.0 + confidence) / 2.0, self.df)
        half, q = t * sqrt(self.variance), t * t * self.cluster_size / self.num_items
        low = min(self.value - half, -_floor_end(self.value, q))
        high = max(self.value + half, _floor_end(-self.value, q))
        return Interval(self.value, max(low, -1.0), min(high, 1.0))

    def _statistic(self, null: float) -> float:
        floor = self.cluster_size * abs(null) / self.num_items
        return (self.value - null) / sqrt(max(self.variance, floor))


def paired_mean(differences: Floats, codes: Ints) -> PairedMean:
    """Sums over clusters.

    Args:
        differences: float64 [N] in [-1, 1].
        codes: int64 [N], the number of each item's cluster, from 0 without gaps.
    """
    sums, sizes = np.bincount(codes, weights=differences), np.bincount(codes).astype(np.float64)
    num, mean = len(differences), float(differences.mean())
    squares = float(sums @ sums)
    square = float(sums**2 @ sums**2) / squares if squares else float(sizes @ sizes) / num
    residual = sums - mean * sizes
    groups = len(sums)
    variance = (groups / max(groups - 1, 1) * float(residual @ residual) + square) / num**2
    return PairedMean(mean, num, variance, sqrt(square), num**2 / float(sizes @ sizes) - 1.0)


def _floor_end(value: float, q: float) -> float:
    """Largest x >= 0 with ``(value + x) ** 2 <= q * x``; -1.0 where there is none."""
    square = q * q - 4.0 * q * value
    return (q - 2.0 * value + sqrt(square)) / 2.0 if square >= 0.0 and q >= 2.0 * value else -1.0
