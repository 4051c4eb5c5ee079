"""Correlations. A constant input correlates with nothing: 0.0."""

from math import sqrt

import numpy as np
from numpy.typing import ArrayLike

from guerdon_service.core.statistics.arrays import Floats, Ints, floats
from guerdon_service.core.statistics.ranks import average_ranks, dense_ranks


def pearson(x: ArrayLike, y: ArrayLike) -> float:
    """Pearson's r.

    Args:
        x, y: float64 [N].

    Raises:
        InvalidInput: no values, or lengths differ.
    """
    first, second = _pair(x, y)
    first, second = first - first.mean(), second - second.mean()
    scale = float(np.linalg.norm(first) * np.linalg.norm(second))
    return max(-1.0, min(1.0, float(first @ second) / scale)) if scale > 0.0 else 0.0


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's rho: Pearson's r of ranks, ties averaged."""
    first, second = _pair(x, y)
    return pearson(average_ranks(first), average_ranks(second))


def kendall(x: ArrayLike, y: ArrayLike) -> float:
    """Kendall's tau-b (1945): concordant less discordant pairs, corrected for ties. O(N log^2 N)."""
    first, second = (dense_ranks(values) for values in _pair(x, y))
    order = np.lexsort((second, first))
    num = len(first)
    pairs = num * (num - 1) // 2
    tied_x, tied_y = _tied_pairs(first), _tied_pairs(second)
    tied_both = _tied_pairs(first * (num + 1) + second)
    discordant = _inversions(second[order])
    scale = sqrt(pairs - tied_x) * sqrt(pairs - tied_y)
    difference = pairs - tied_x - tied_y + tied_both - 2 * discordant
    return max(-1.0, min(1.0, difference / scale)) if scale > 0.0 else 0.0


def _pair(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    first = floats(x, "x")
    return first, floats(y, "y", size=len(first))


def _tied_pairs(values: Ints) -> int:
    counts = np.unique(values, return_counts=True)[1].astype(np.int64)
    return int((counts * (counts - 1) // 2).sum())


def _inversions(values: Ints) -> int:
    """Pairs in the wrong order: merge sort from the bottom up, all blocks of one width at once.

    An offset per block keeps the blocks apart, so one sort and one search serve every block.
    """
    num, width, found = len(values), 1, 0
    place = np.arange(num)
    span = num + 1  # above every dense rank
    while width < num:
        block = place // (2 * width)
        right = (place // width) % 2 == 1
        keys = values + block * span
        lefts = np.sort(keys[~right])
        upto = np.searchsorted(lefts, keys[right], side="right")
        end = np.searchsorted(lefts, (block[right] + 1) * span, side="left")
        found += int((end - upto).sum())
        width *= 2
    return found
