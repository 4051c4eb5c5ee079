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


def krippendorff_alpha(counts: Counts, *, ordinal: bool) -> Interval:
    """Alpha and its 95 % percentile interval, whole items drawn with replacement.

    1.0 is perfect agreement, 0.0 what chance gives. Items with fewer than two labels are left out. With one
    label throughout the value is not defined; 1.0 is given, since nobody disagreed.

    Args:
        ordinal: distance between ranks, as Krippendorff defines it, in place of equal or not.
    """
    units, weights = resample_items(counts[counts.sum(axis=1) >= 2])
    values = _alpha(weights, units, ordinal=ordinal)
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return Interval(float(values[0]), float(low), float(high))


def _alpha(weights: NDArray[np.float64], units: Counts, *, ordinal: bool) -> NDArray[np.float64]:
    """Alpha of each weighting [B] of the distinct items; weights is [B, units]."""
    num_labels = units.shape[1]
    per_unit = (
        units[:, :, None] * (units[:, None, :] - np.eye(num_labels)) / (units.sum(1) - 1)[:, None, None]
    )
    coincidences = (weights @ per_unit.reshape(len(units), -1)).reshape(-1, num_labels, num_labels)
    totals = coincidences.sum(axis=2)
    distance = _ordinal_distance(totals) if ordinal else 1.0 - np.eye(num_labels)[None]
    observed = (coincidences * distance).sum(axis=(1, 2))
    expected = (totals[:, :, None] * totals[:, None, :] * distance).sum(axis=(1, 2))
    defined = expected > 0
    ratio = np.divide(observed, expected, out=np.zeros_like(observed), where=defined)
    return np.where(defined, 1 - (totals.sum(axis=1) - 1) * ratio, 1.0)


def _ordinal_distance(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared distance [B, labels, labels]: the annotations between two ranks, each end counted half."""
    middle = np.cumsum(totals, axis=1) - totals / 2
    return np.square(middle[:, :, None] - middle[:, None, :])
