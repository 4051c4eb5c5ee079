"""Chance-corrected agreement: Cohen (two annotators) and Fleiss (a fixed number of labels per item)."""

import numpy as np
from numpy.typing import NDArray


def cohen_kappa(first: NDArray[np.int64], second: NDArray[np.int64], num_labels: int) -> float:
    """Cohen (1960): (p_o - p_e) / (1 - p_e) on the items both labelled; 1.0 where both used one label alone.

    Args:
        first, second: int64 [N], labels as indices.
    """
    table = np.zeros((num_labels, num_labels))
    np.add.at(table, (first, second), 1.0)
    table /= len(first)
    expected = float(table.sum(1) @ table.sum(0))
    return 1.0 if expected == 1.0 else (float(np.trace(table)) - expected) / (1 - expected)


def fleiss_kappa(counts: NDArray[np.float64]) -> float:
    """Fleiss (1971); 1.0 where one label was used throughout.

    Args:
        counts: float64 [items, labels], the same number of labels (>= 2) on every item.
    """
    per_item = counts.sum(axis=1)
    assert (per_item == per_item[0]).all(), "Fleiss kappa needs one number of labels per item"
    num = per_item[0]
    observed = float(((counts * (counts - 1)).sum(axis=1) / (num * (num - 1))).mean())
    expected = float(np.square(counts.sum(axis=0) / counts.sum()).sum())
    return 1.0 if expected == 1.0 else (observed - expected) / (1 - expected)
