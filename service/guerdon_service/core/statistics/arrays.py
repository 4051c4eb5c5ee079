"""Checked arrays: what every statistic does to its arguments first."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from guerdon_service.core.errors import InvalidInput

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Clusters = Sequence[Hashable] | NDArray[Any]
"""One key per item; items with equal keys, such as those of one prompt, are not independent."""


def floats(values: ArrayLike, param: str, *, size: int | None = None) -> Floats:
    """`values` as float64 [N], N >= 1, all finite.

    Raises:
        InvalidInput: empty, not one-dimensional, not finite, or not `size` long where that is given.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise InvalidInput(f"{param} must be a list of at least one number", param=param)
    if size is not None and array.size != size:
        raise InvalidInput(f"{param} has {array.size} values for {size} items; give one each", param=param)
    if not np.isfinite(array).all():
        raise InvalidInput(f"{param} holds NaN or infinity; leave those items out", param=param)
    return array


def shares(values: ArrayLike, param: str, *, size: int | None = None) -> Floats:
    """`floats` that all lie in [0, 1]: probabilities, soft labels, correctness with 0.5 for a tie."""
    array = floats(values, param, size=size)
    if array.min() < 0.0 or array.max() > 1.0:
        raise InvalidInput(f"{param} must lie between 0 and 1", param=param)
    return array


def cluster_codes(clusters: Clusters, size: int) -> Ints:
    """Keys as int64 [N] numbered from 0 in order of appearance.

    Raises:
        InvalidInput: not one key per item.
    """
    keys = clusters.tolist() if isinstance(clusters, np.ndarray) else clusters
    if len(keys) != size:
        raise InvalidInput(f"clusters has {len(keys)} keys for {size} items; give one each", param="clusters")
    number = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return np.array([number[key] for key in keys], dtype=np.int64)


def cluster_sums(codes: Ints, values: Floats) -> Floats:
    """Sum of the values of each cluster, float64 [G]."""
    return np.asarray(np.bincount(codes, weights=values), dtype=np.float64)


def effective_clusters(codes: Ints, weights: Floats | None = None) -> float:
    """How many clusters of one size tell as much as these of N items: ``N ** 2 / sum(size ** 2)``.

    With weights the size of a cluster, and N, are sums of theirs.

    Args:
        codes: int64 [N], numbered from 0.
        weights: float64 [N], > 0, where the items do not weigh the same.
    """
    sizes = np.bincount(codes, weights).astype(np.float64)
    return float(sizes.sum() ** 2 / (sizes @ sizes))


def cluster_freedom(clusters: Clusters, size: int) -> float:
    """Degrees of freedom of a cluster-robust error: the effective number of clusters less one.

    Unequal sizes reduce them (Satterthwaite, 1946; Carter, Schnepel and Steigerwald, 2017, here of items that
    are independent).

    Raises:
        InvalidInput: not one key per item.
    """
    return effective_clusters(cluster_codes(clusters, size)) - 1.0


def check_open_share(value: float, param: str) -> None:
    """Raise `InvalidInput` unless ``0 < value < 1``."""
    if not 0.0 < value < 1.0:
        raise InvalidInput(f"{param} is {value}; it must lie strictly between 0 and 1", param=param)
