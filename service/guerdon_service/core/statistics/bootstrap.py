"""Bootstrap interval of a mean whose items come in dependent clusters."""

import numpy as np
from numpy.typing import ArrayLike

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.statistics.arrays import Clusters, Floats, cluster_codes, cluster_sums, floats
from guerdon_service.core.statistics.interval import Interval
from guerdon_service.core.statistics.resample import resample_totals


def clustered_bootstrap(
    values: ArrayLike,
    clusters: Clusters,
    seed: int = 0,
    *,
    weights: ArrayLike | None = None,
    bounds: tuple[float, float] | None = None,
) -> Interval:
    """Percentile interval of a mean, whole clusters drawn with replacement (Field and Welsh, 2007).

    Items of one prompt then count as the dependent observations they are. Differences of two scorers on the
    same items make the comparison paired. 100,000 clusters take seconds and some 30 MB.

    Args:
        values: float64 [N].
        clusters: N keys.
        weights: float64 [N], > 0, for the ratio ``sum(weights * values) / sum(weights)``; 1 by default.
        bounds: what the values can be: the interval where there is one cluster, which shows nothing of
            others. None: it has no width then.

    Raises:
        InvalidInput: no items, not one key each, or a weight that is not positive.
    """
    checked = floats(values, "values")
    weight = np.ones_like(checked) if weights is None else floats(weights, "weights", size=len(checked))
    if weight.min() <= 0.0:
        raise InvalidInput("weights must be positive; leave the items with no weight out", param="weights")
    codes = cluster_codes(clusters, len(checked))
    mean = float(np.average(checked, weights=weight))
    if bounds is not None and not codes.any():
        return Interval(mean, *bounds)
    totals = np.column_stack([cluster_sums(codes, weight * checked), cluster_sums(codes, weight)])
    drawn = resample_totals(totals, seed)
    return percentile_interval(mean, drawn[:, 0] / drawn[:, 1])


def percentile_interval(value: float, resampled: Floats) -> Interval:
    """`value` with the middle 95 % of what the resamples gave."""
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Interval(value, float(low), float(high))
