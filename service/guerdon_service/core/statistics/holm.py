"""Many tests at once."""

import numpy as np
from numpy.typing import ArrayLike

from guerdon_service.core.statistics.arrays import Floats, shares


def holm(p_values: ArrayLike) -> Floats:
    """Step-down adjusted p-values (Holm, 1979), in the order given: for decisions.

    Rejecting what is at or below alpha makes any false rejection with probability at most alpha, whatever the
    dependence of the tests.

    Raises:
        InvalidInput: no p-value, or one outside [0, 1].
    """
    p = shares(p_values, "p_values")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return _put_back(np.minimum(stepped, 1.0), order)


def benjamini_hochberg(p_values: ArrayLike) -> Floats:
    """Step-up adjusted p-values (Benjamini and Hochberg, 1995), in the order given: for exploration.

    Of what is at or below alpha, an expected share of at most alpha is false, the tests being independent.

    Raises:
        InvalidInput: no p-value, or one outside [0, 1].
    """
    p = shares(p_values, "p_values")
    order = np.argsort(p, kind="stable")
    stepped = np.minimum.accumulate((p[order] * len(p) / np.arange(1, len(p) + 1))[::-1])[::-1]
    return _put_back(np.minimum(stepped, 1.0), order)


def _put_back(ordered: Floats, order: np.ndarray) -> Floats:
    values = np.empty_like(ordered)
    values[order] = ordered
    return values
