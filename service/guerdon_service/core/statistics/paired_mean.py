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

from guerdon_service.core.statistics.arrays import Floats, Ints, cluster_sums, effective_clusters
from guerdon_service.core.statistics.beta import student_quantile, student_tail
from guerdon_service.core.statistics.interval import Interval

MIN_DISCORDANT = 10
"""Effective number of discordant clusters below which they don't show how large one can be."""


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
        """One-sided p-value of "the mean is at most `null`", `null` <= 0: the largest over those means."""
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
    sums, sizes = cluster_sums(codes, differences), cluster_sums(codes, np.ones_like(differences))
    num, mean = len(differences), float(differences.mean())
    typical, residual, groups = _typical_size(sums, sizes), sums - mean * sizes, len(sums)
    variance = (groups / max(groups - 1, 1) * float(residual @ residual) + typical**2) / num**2
    return PairedMean(mean, num, variance, typical, effective_clusters(codes) - 1.0)


def _typical_size(sums: Floats, sizes: Floats) -> float:
    """Root mean square of the differences, those of squared size weighing more.

    From a few discordant clusters it can't be told: then at least as if all items of a cluster went together.
    """
    whole = float(sizes @ sizes / sizes.sum())
    squares = float(sums @ sums)
    if squares == 0.0:
        return whole
    seen = float(sums**2 @ sums**2) / squares
    return sqrt(seen) if squares / seen >= MIN_DISCORDANT else max(sqrt(seen), whole)


def _floor_end(value: float, q: float) -> float:
    """Largest x >= 0 with ``(value + x) ** 2 <= q * x``; -1.0 where there is none."""
    square = q * q - 4.0 * q * value
    return (q - 2.0 * value + sqrt(square)) / 2.0 if square >= 0.0 and q >= 2.0 * value else -1.0
