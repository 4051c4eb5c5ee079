"""Correlation of an annotator with the others."""

import numpy as np
import pytest

from guerdon_training.audit.consensus import consensus_correlation


def test_consensus_correlation_equals_numpy_item_by_item() -> None:
    generator = np.random.default_rng(0)
    ratings = generator.normal(size=(30, 1)) + generator.normal(size=(30, 5))
    ratings[:, 4] = generator.normal(size=30)
    items, annotators = (a.ravel() for a in np.mgrid[0:30, 0:5])
    found = consensus_correlation(items, annotators, ratings.ravel())
    for i in range(5):
        others = np.delete(ratings, i, axis=1).mean(axis=1)
        assert found[i] == pytest.approx(np.corrcoef(ratings[:, i], others)[0, 1], abs=1e-12)
    assert found[4] < found[:4].min()
