"""Chance-corrected agreement: Cohen (two annotators) and Fleiss (a fixed number of labels per item)."""

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]


def cohen_kappa(first: Labels, second: Labels, num_labels: int) -> float:
    """Cohen (1960): (p_o - p_e) / (1 - p_e) on the items both labelled; 1.0 where both used one label alone.

    Args:
        first, second: int64 [N], labels as indices.
    """
    observed = float((first == second).mean())
    counts = [np.bincount(labels, minlength=num_labels) for labels in (first, second)]
    return _beyond_chance(observed, float(counts[0] @ counts[1]) / len(first) ** 2)


def fleiss_kappa(labels: Labels) -> float:
    """Fleiss (1971); 1.0 where one label was used throughout.

    Args:
        labels: int64 [items, n >= 2], as indices; their order within an item is no matter.
    """
    num_items, num = labels.shape
    changes = np.diff(np.sort(labels, axis=1), axis=1, prepend=-1) != 0
    runs = np.diff(np.flatnonzero(changes), append=num_items * num)  # equal labels of one item
    observed = float((runs * (runs - 1)).sum()) / (num_items * num * (num - 1))
    shares = np.bincount(labels.ravel()) / labels.size
    return _beyond_chance(observed, float(np.square(shares).sum()))


def _beyond_chance(observed: float, expected: float) -> float:
    return 1.0 if expected == 1.0 else (observed - expected) / (1 - expected)
