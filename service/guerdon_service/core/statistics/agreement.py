"""Krippendorff's alpha with a bootstrap interval over items.

Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011): alpha = 1 - D_o / D_e, for any number of
annotators, with missing data.
"""

import numpy as np
from numpy.typing import NDArray

from guerdon_service.core.statistics.interval import Interval
from guerdon_service.core.statistics.resample import resample_items

Counts = NDArray[np.float64]
"""float64 [items, labels]: how many annotators gave the item that label. Ordinal labels stand in order."""
NUM_BLOCKS = 16
"""Of resamples: what is held beside the weights is that part of them."""


def krippendorff_alpha(counts: Counts, *, ordinal: bool) -> Interval:
    """Alpha and its 95 % percentile interval, whole items drawn with replacement.

    1.0 is perfect agreement, 0.0 what chance gives. Items with fewer than two labels are left out. With one
    label throughout the value is not defined; 1.0 is given, since nobody disagreed.

    Args:
        ordinal: distance between ranks, as Krippendorff defines it, in place of equal or not.
    """
    units, weights = resample_items(counts[counts.sum(axis=1) >= 2])
    blocks = np.array_split(weights, NUM_BLOCKS)
    values = np.concatenate([_alpha(block, units, ordinal=ordinal) for block in blocks])
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return Interval(float(values[0]), float(low), float(high))


def _alpha(weights: NDArray[np.float64], units: Counts, *, ordinal: bool) -> NDArray[np.float64]:
    """Alpha of each weighting [B] of the distinct items; weights is [B, units].

    Distances are summed without a table of all pairs of labels, which is huge for ratings on a fine scale: of
    n numbers the squared differences of all pairs sum to n times the sum of squares, less the squared sum.
    """
    sizes, totals = units.sum(axis=1), weights @ units
    num = totals.sum(axis=1)
    if ordinal:
        places = _middle_ranks(totals)
        within = sizes * (np.square(places) @ units.T) - np.square(places @ units.T)
        among = num * (np.square(places) * totals).sum(axis=1) - np.square((places * totals).sum(axis=1))
    else:
        within = (np.square(sizes) - np.square(units).sum(axis=1))[None] / 2
        among = (np.square(num) - np.square(totals).sum(axis=1)) / 2
    observed = (weights / (sizes - 1) * within).sum(axis=1)
    defined = among > 0
    ratio = np.divide(observed, among, out=np.zeros_like(observed), where=defined)
    return np.where(defined, 1 - (num - 1) * ratio, 1.0)


def _middle_ranks(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Places [B, labels] whose squared differences are the ordinal distances.

    The annotations below a label and half of its own; less half of all, so that squares lose no digits.
    """
    num: NDArray[np.float64] = totals.sum(axis=1, keepdims=True)
    return np.cumsum(totals, axis=1) - (totals + num) / 2
