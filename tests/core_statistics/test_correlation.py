"""Correlations against scipy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.statistics.correlation import kendall, pearson, spearman

pairs = st.lists(st.tuples(st.integers(-6, 6), st.integers(-6, 6)), min_size=2, max_size=60)


@settings(max_examples=150, deadline=None)
@given(pairs)
def test_each_equals_scipy_ties_included(rows: list[tuple[int, int]]) -> None:
    x, y = (list(map(float, column)) for column in zip(*rows, strict=True))
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert pearson(x, y) == spearman(x, y) == kendall(x, y) == 0.0
        return
    assert pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-10)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-10)
    assert kendall(x, y) == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-10)


@settings(max_examples=50, deadline=None)
@given(pairs)
def test_each_is_symmetric_and_antisymmetric(rows: list[tuple[int, int]]) -> None:
    x, y = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    for correlation in (pearson, spearman, kendall):
        assert correlation(x, y) == pytest.approx(correlation(y, x), abs=1e-12)
        assert correlation(x, -y) == pytest.approx(-correlation(x, y), abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(pairs)
def test_rank_correlations_see_the_order_alone(rows: list[tuple[int, int]]) -> None:
    x, y = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    for correlation in (spearman, kendall):
        assert correlation(np.exp(x), y**3) == pytest.approx(correlation(x, y), abs=1e-12)


def test_fifty_thousand_values() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=50_000).round(2)
    y = (x + generator.normal(size=50_000)).round(2)
    assert kendall(x, y) == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-10)


def test_values_without_a_partner_are_refused() -> None:
    with pytest.raises(InvalidInput, match="y has 1 values for 2"):
        kendall([1, 2], [1])
