"""Win rate at equal length: the logistic model of AlpacaEval 2 (Dubois et al., arXiv 2404.04475)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from guerdon_service.core.statistics.arrays import (
    Clusters,
    Floats,
    cluster_freedom,
    floats,
    shares,
)
from guerdon_service.core.statistics.clustered import clustered_rate, student95
from guerdon_service.core.statistics.interval import Interval
from guerdon_service.core.statistics.logistic import fit_logistic, logistic

RIDGE = 1.0
"""Penalty on the slopes, not on the intercept: a standard normal prior. It keeps the fit finite where every
longer answer wins, and shrinks a slope by about 1 % at 1,000 prompts."""


@dataclass(frozen=True, slots=True)
class LengthControlled:
    """Win rates, raw and at equal length, with 95 % intervals.

    length_effect: log-odds that length adds between equal answers, per unit of the hyperbolic tangent.
    """

    raw: Interval
    win_rate: Interval
    length_effect: float


def length_controlled_win_rate(
    preferences: ArrayLike,
    length_differences: ArrayLike,
    clusters: Clusters,
    difficulties: ArrayLike | None = None,
) -> LengthControlled:
    """Fit ``logit P(win) = strength + length * tanh(x) + slope * difficulty``, predict with ``length = 0``.

    x is the difference in length over its standard deviation. The intervals are cluster-robust; that of the
    controlled rate is the delta method on its logit, with Student's t of the effective number of clusters
    less one. Where every comparison is won (or lost) there is nothing
    to control for: the raw rate is given.

    Args:
        preferences: float64 [N] in [0, 1], probability that the candidate's answer is preferred; 0.5 a tie.
        length_differences: float64 [N], candidate less baseline, in characters or tokens.
        clusters: N keys, here prompts.
        difficulties: float64 [N], of each prompt, on a log-odds scale, where known.

    Raises:
        InvalidInput: lengths differ, or a value out of range.
    """
    wins = shares(preferences, "preferences")
    raw = clustered_rate(wins, clusters)
    lengths = floats(length_differences, "length_differences", size=len(wins))
    if wins.min() == wins.max() and raw.value in (0.0, 1.0):
        return LengthControlled(raw, raw, 0.0)
    columns = [np.ones_like(wins), np.tanh(lengths / (lengths.std() or 1.0))]
    if difficulties is not None:
        columns.append(floats(difficulties, "difficulties", size=len(wins)))
    features = np.stack(columns, axis=1)
    penalty = RIDGE * (np.arange(len(columns)) > 0)
    fit = fit_logistic(features, wins, l2=penalty, clusters=clusters)
    features[:, 1] = 0.0
    t = student95(cluster_freedom(clusters, len(wins)))
    win_rate = _mean_probability(features, fit.coefficients, fit.covariance, t)
    return LengthControlled(raw, win_rate, float(fit.coefficients[1]))


def _mean_probability(features: Floats, coefficients: Floats, covariance: Floats, t: float) -> Interval:
    """With `t` standard errors to each side."""
    p = logistic(features @ coefficients)
    mean = float(p.mean())
    gradient = (features * (p * (1.0 - p))[:, None]).mean(axis=0) / (mean * (1.0 - mean))
    half = t * float(np.sqrt(gradient @ covariance @ gradient))
    logit = np.log(mean) - np.log1p(-mean)
    low, high = logistic(np.array([logit - half, logit + half]))
    return Interval(mean, float(low), float(high))
