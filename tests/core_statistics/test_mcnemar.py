"""McNemar's test against statsmodels and scipy."""

from importlib import import_module
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.statistics.mcnemar import mcnemar, mcnemar_paired

reference: Any = import_module("statsmodels.stats.contingency_tables").mcnemar
discordant = st.integers(0, 400)


@settings(max_examples=100, deadline=None)
@given(discordant, discordant)
def test_exact_p_equals_the_reference(wins: int, losses: int) -> None:
    if wins + losses == 0:
        return
    expected = reference([[10, wins], [losses, 10]], exact=True).pvalue
    assert mcnemar(wins, losses).p_value == pytest.approx(expected, rel=1e-8)


@settings(max_examples=100, deadline=None)
@given(discordant, discordant)
def test_mid_p_leaves_out_half_of_the_outcome_in_each_tail(wins: int, losses: int) -> None:
    n, k = wins + losses, min(wins, losses)
    expected = 2 * stats.binom.cdf(k, n, 0.5) - stats.binom.pmf(k, n, 0.5)
    assert mcnemar(wins, losses).mid_p == pytest.approx(min(1.0, float(expected)), rel=1e-8)


def test_thousands_of_discordant_items() -> None:
    found = mcnemar(50_600, 50_000)
    assert found.p_value == pytest.approx(float(stats.binomtest(50_600, 100_600).pvalue), rel=1e-8)
    assert mcnemar(9_000, 1_000).p_value == pytest.approx(2 * float(stats.binom.cdf(1000, 10_000, 0.5)))


@given(discordant, discordant)
def test_swapping_the_sides_changes_nothing_but_the_counts(wins: int, losses: int) -> None:
    one, other = mcnemar(wins, losses), mcnemar(losses, wins)
    assert (one.p_value, one.mid_p) == (other.p_value, other.mid_p)
    assert 0.0 <= one.mid_p <= one.p_value <= 1.0


def test_nobody_differs() -> None:
    assert mcnemar(0, 0).p_value == mcnemar(0, 0).mid_p == 1.0


def test_ties_count_by_their_sign() -> None:
    candidate, baseline = np.array([1, 0.5, 0.5, 1, 0, 0.5]), np.array([0.5, 0, 0.5, 0, 1, 0.5])
    assert mcnemar_paired(candidate, baseline) == mcnemar(3, 1)


@pytest.mark.parametrize("n", [20, 60])
@pytest.mark.parametrize("discordance", [0.1, 0.4, 1.0])
def test_levels_over_every_outcome(n: int, discordance: float) -> None:
    """The exact test keeps its 5 %; mid-p stays close to it."""
    exact = mid = 0.0
    for k in range(n + 1):
        for wins in range(k + 1):
            chance = float(stats.binom.pmf(k, n, discordance) * stats.binom.pmf(wins, k, 0.5))
            if chance > 1e-9:
                found = mcnemar(wins, k - wins)
                exact += chance * (found.p_value <= 0.05)
                mid += chance * (found.mid_p <= 0.05)
    assert exact <= 0.05
    assert exact <= mid <= 0.055


def test_negative_counts_and_other_items_are_refused() -> None:
    with pytest.raises(InvalidInput, match="negative"):
        mcnemar(-1, 2)
    with pytest.raises(InvalidInput, match="baseline"):
        mcnemar_paired([1, 0], [1])
