"""Adjusted p-values against statsmodels and scipy, and the error rate that Holm promises."""

from importlib import import_module
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.statistics.holm import benjamini_hochberg, holm

multipletests: Any = import_module("statsmodels.stats.multitest").multipletests


few = st.lists(st.floats(0, 1), min_size=1, max_size=6)


def test_holm_equals_the_reference() -> None:
    p_values = np.random.default_rng(0).beta(0.3, 3, 12)
    np.testing.assert_allclose(holm(p_values), multipletests(p_values, method="holm")[1], atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(few)
def test_holm_is_the_closed_bonferroni_test(p_values: list[float]) -> None:
    """A hypothesis falls when every set that holds it does (Marcus, Peritz and Gabriel, 1976)."""
    num = len(p_values)
    sets = [s for size in range(1, num + 1) for s in combinations(range(num), size)]
    bonferroni = {s: min(1.0, len(s) * min(p_values[i] for i in s)) for s in sets}
    expected = [max(p for s, p in bonferroni.items() if i in s) for i in range(num)]
    np.testing.assert_allclose(holm(p_values), expected, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(few)
def test_benjamini_hochberg_equals_scipy(p_values: list[float]) -> None:
    np.testing.assert_allclose(benjamini_hochberg(p_values), false_discovery_control(p_values), atol=1e-12)


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
