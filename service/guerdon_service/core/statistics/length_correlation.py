"""How much rewards follow length, and whether one model's follow it more than another's."""

from math import sqrt

import numpy as np
from numpy.typing import ArrayLike

from guerdon_service.core.statistics.arrays import Clusters, Floats, floats
from guerdon_service.core.statistics.clustered import clustered_mean
from guerdon_service.core.statistics.correlation import spearman
from guerdon_service.core.statistics.interval import Interval
from guerdon_service.core.statistics.ranks import dense_ranks


def length_correlation(margins: ArrayLike, length_differences: ArrayLike) -> float:
    """Spearman's rho; each pair enters in both orders, so that the order within it is no signal.

    Args:
        margins: float64 [N], reward of the chosen less that of the rejected response.
        length_differences: float64 [N], of the same two, in characters or tokens.

    Raises:
        InvalidInput: no pairs, or lengths differ.
    """
    first, second = floats(margins, "margins"), floats(length_differences, "length_differences")
    return spearman(np.concatenate([first, -first]), np.concatenate([second, -second]))


def length_rise(
    candidate: ArrayLike, baseline: ArrayLike, length_differences: ArrayLike, clusters: Clusters
) -> Interval:
    """Absolute `length_correlation` of the candidate less that of the baseline, on the same pairs.

    The interval is that of `clustered_mean` for the influences of the pairs: by how much the figure moves
    when a pair's weight does (Hampel, 1974; Croux and Dehon, 2010, for rank correlations).

    Args:
        candidate, baseline, length_differences: float64 [N], see `length_correlation`.
        clusters: N keys, here prompts.

    Raises:
        InvalidInput: no pairs, or lengths differ.
    """
    ours = floats(candidate, "candidate")
    theirs = floats(baseline, "baseline", size=len(ours))
    lengths = floats(length_differences, "length_differences", size=len(ours))
    (first, ours_moves), (second, theirs_moves) = (_correlation(m, lengths) for m in (ours, theirs))
    moves = np.sign(first) * ours_moves - np.sign(second) * theirs_moves
    found = clustered_mean(abs(first) - abs(second) + moves, clusters)
    return Interval(found.value, max(-1.0, found.low), min(1.0, found.high))


def _correlation(x: Floats, y: Floats) -> tuple[float, Floats]:
    """`length_correlation`, and the influence of each pair on it: float64 [N], mean 0."""
    (both, of_both), (one, of_one), (other, of_other) = (_product(*p) for p in ((x, y), (x, x), (y, y)))
    if one == 0.0 or other == 0.0:
        return 0.0, np.zeros_like(x)
    scale = sqrt(one * other)
    return both / scale, of_both / scale - both / scale / 2.0 * (of_one / one + of_other / other)


def _product(x: Floats, y: Floats) -> tuple[float, Floats]:
    """Mean product of two variables' ranks, and the influence of each pair on it.

    A pair counts by its own product, and by its part in the ranks of all others.
    """
    ranks_x, ranks_y = _ranks(x), _ranks(y)
    parts = ranks_x * ranks_y + _above(x, ranks_y) + _above(y, ranks_x)
    mean = float(parts.mean())
    return mean / 3.0, parts - mean


def _ranks(values: Floats) -> Floats:
    """Ranks among the values and their opposites, about zero and over their number, ties averaged: the sign
    times the rank of the absolute value, as in Wilcoxon's test (1945).
    """
    places = dense_ranks(np.abs(values))
    counts = np.bincount(places)
    ranks: Floats = np.sign(values) * ((np.cumsum(counts) - counts / 2.0) / len(values))[places]
    return ranks


def _above(values: Floats, others: Floats) -> Floats:
    """For each pair the mean of ``sign(value) * other`` over those of a larger absolute value, half over its
    equals: what one more pair of that value would add to the ranks of these.
    """
    places = dense_ranks(np.abs(values))
    sums = np.bincount(places, weights=np.sign(values) * others) / len(values)
    above: Floats = (np.cumsum(sums[::-1])[::-1] - sums / 2.0)[places]
    return above
