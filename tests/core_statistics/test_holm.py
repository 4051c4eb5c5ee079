"""Adjusted p-values against statsmodels, and the error rate that Holm promises."""

from importlib import import_module
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.statistics.holm import benjamini_hochberg, holm

multipletests: Any = import_module("statsmodels.stats.multitest").multipletests


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_both_equal_the_reference(p_values: list[float]) -> None:
    np.testing.assert_allclose(holm(p_values), multipletests(p_values, method="holm")[1], atol=1e-12)
    expected = multipletests(p_values, method="fdr_bh")[1]
    np.testing.assert_allclose(benjamini_hochberg(p_values), expected, atol=1e-12)


def test_any_false_rejection_among_twenty_is_rare_with_holm_alone() -> None:
    """All twenty null, strongly dependent or not; 4,000 sets leave a standard error of 0.35 points."""
    generator = np.random.default_rng(0)
    shared = generator.random((4000, 1))
    for p in (generator.random((4000, 20)), np.where(generator.random((4000, 20)) < 0.5, shared, 1.0)):
        rejected = np.mean([holm(row).min() <= 0.05 for row in p])
        assert rejected <= 0.06
    assert (generator.random((4000, 20)).min(axis=1) <= 0.05).mean() > 0.5


def test_what_is_no_p_value_is_refused() -> None:
    with pytest.raises(InvalidInput, match="p_values"):
        holm([1.2])
