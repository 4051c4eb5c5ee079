"""Rates over pairs that share prompts."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from guerdon_service.core.calibration import Z95
from guerdon_training.statistics import Interval, wilson


def clustered_rate(values: NDArray[np.float64], clusters: Sequence[Hashable]) -> Interval:
    """Mean of values in [0, 1] with a Wilson interval at the effective sample size.

    Pairs of one prompt are dependent; the effective size is p (1 - p) over the cluster-robust variance of the
    mean (Korn and Graubard, 1998), and never above the number of pairs.

    Args:
        values: float64 [N], 0.5 for a tie.
        clusters: N keys, here prompts.
    """
    num, mean = len(values), float(values.mean())
    variance = _cluster_variance(values, clusters)
    binomial = mean * (1 - mean)
    spread = variance > 0 and binomial > 0
    effective = int(min(num, binomial / variance)) if spread else len(set(clusters))
    interval = wilson(mean * max(effective, 1), max(effective, 1))
    return Interval(mean, interval.low, interval.high)


def clustered_mean(values: NDArray[np.float64], clusters: Sequence[Hashable]) -> Interval:
    """Mean of any values with a normal interval from the cluster-robust standard error.

    Args:
        values: float64 [N].
        clusters: N keys, here annotators.
    """
    mean = float(values.mean())
    half = Z95 * float(np.sqrt(_cluster_variance(values, clusters)))
    return Interval(mean, mean - half, mean + half)


def _cluster_variance(values: NDArray[np.float64], clusters: Sequence[Hashable]) -> float:
    """Variance of the mean when whole clusters are the independent observations, with G / (G - 1)."""
    index = {key: i for i, key in enumerate(dict.fromkeys(clusters))}
    which = np.array([index[key] for key in clusters])
    residual = np.bincount(which, weights=values - values.mean())
    correction = len(index) / max(len(index) - 1, 1)
    return correction * float(residual @ residual) / len(values) ** 2
