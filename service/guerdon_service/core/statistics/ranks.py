"""Ranks, with ties."""

import numpy as np

from guerdon_service.core.statistics.arrays import Floats, Ints


def average_ranks(values: Floats) -> Floats:
    """Ranks from 1, ties sharing their average."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    averaged: Floats = (last - (counts - 1) / 2.0)[inverse]
    return averaged


def dense_ranks(values: Floats | Ints) -> Ints:
    """Ranks from 0 without gaps, ties sharing one."""
    ranks: Ints = np.unique(values, return_inverse=True)[1].astype(np.int64)
    return ranks
