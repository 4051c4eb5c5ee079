"""Accuracy with the length of the responses taken out of it."""

import numpy as np
from numpy.typing import ArrayLike

from guerdon_service.core.statistics.arrays import Clusters, Floats, floats, shares
from guerdon_service.core.statistics.bootstrap import clustered_bootstrap
from guerdon_service.core.statistics.interval import Interval

NUM_STRATA = 5
"""Strata of equal mass, by absolute difference in length. Five remove some 90 % of a bias (Cochran, 1968)."""


def longer_wins(length_differences: ArrayLike) -> Floats:
    """Correctness of preferring the longer response: 1, 0, or 0.5 where lengths are equal.

    Args:
        length_differences: float64 [N], chosen less rejected, in characters or tokens.
    """
    return (np.sign(floats(length_differences, "length_differences")) + 1.0) / 2.0


def shorter_wins(length_differences: ArrayLike) -> Floats:
    """Correctness of preferring the shorter response; see `longer_wins`."""
    return 1.0 - longer_wins(length_differences)


def length_matched_accuracy(
    correct: ArrayLike, length_differences: ArrayLike, clusters: Clusters, seed: int = 0
) -> Interval | None:
    """Accuracy in which the chosen response is as often the longer as the shorter one, by equal amounts.

    Pairs are put into strata by the absolute difference in length; in each one the pairs whose chosen
    response is longer weigh, together, as much as those whose chosen one is shorter. A score that follows
    length alone then gets exactly one half, whatever the bias of the data. Pairs of equal length weigh 1; a
    stratum with one direction alone has no match and is left out. The interval is `clustered_bootstrap`'s at
    these weights.

    Args:
        correct: float64 [N] in [0, 1].
        length_differences: float64 [N], chosen less rejected.
        clusters: N keys, here prompts.

    Returns:
        None where nothing matches.

    Raises:
        InvalidInput: lengths differ, or a value out of range.
    """
    right = shares(correct, "correct")
    differences = floats(length_differences, "length_differences", size=len(right))
    weights = _weights(differences)
    kept = np.flatnonzero(weights)
    if not len(kept):
        return None
    keys = [clusters[i] for i in kept.tolist()]
    return clustered_bootstrap(right[kept], keys, seed, weights=weights[kept], bounds=(0.0, 1.0))


def _weights(differences: Floats) -> Floats:
    """Half of the stratum's pairs over those of the pair's own direction; 0.0 without a match."""
    direction = np.sign(differences).astype(np.int64)
    size = np.abs(differences)
    unequal = size > 0
    weights = np.where(unequal, 0.0, 1.0)
    if not unequal.any():
        return weights
    edges = np.quantile(size[unequal], np.linspace(0.0, 1.0, NUM_STRATA + 1)[1:-1])
    cell = 2 * np.searchsorted(edges, size) + (direction > 0)
    counts = np.bincount(cell[unequal], minlength=2 * NUM_STRATA).reshape(NUM_STRATA, 2)
    matched = counts.min(axis=1, keepdims=True) > 0
    per_cell = np.where(matched, counts.sum(axis=1, keepdims=True) / np.maximum(2 * counts, 1), 0.0)
    return np.asarray(np.where(unequal, per_cell.ravel()[cell], weights))
