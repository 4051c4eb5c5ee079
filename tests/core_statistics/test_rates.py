"""Wilson and Clopper-Pearson against scipy and statsmodels."""

from importlib import import_module
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.statistics.rates import clopper_pearson, lower_bound, wilson

proportion: Any = import_module("statsmodels.stats.proportion")
counts = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@settings(max_examples=60, deadline=None)
@given(counts, st.sampled_from([0.8, 0.95, 0.99]))
def test_both_intervals_equal_the_references(count: tuple[int, int], confidence: float) -> None:
    successes, n = count
    for method, interval in (("wilson", wilson), ("beta", clopper_pearson)):
        low, high = proportion.proportion_confint(successes, n, 1 - confidence, method)
        found = interval(successes, n, confidence)
        assert (found.low, found.high) == pytest.approx((max(low, 0), min(high, 1)), abs=1e-9)
        assert found.low <= found.value <= found.high


def test_wilson_takes_half_successes_for_ties() -> None:
    assert wilson(10.5, 20).value == 0.525
    assert wilson(10, 20).low < wilson(10.5, 20).low < wilson(11, 20).low


@settings(max_examples=40, deadline=None)
@given(counts)
def test_one_sided_bound_equals_scipy(count: tuple[int, int]) -> None:
    successes, n = count
    expected = stats.binomtest(successes, n, alternative="greater").proportion_ci(0.95).low
    assert lower_bound(successes, n) == pytest.approx(expected, abs=1e-9)


def test_no_failure_follows_the_rule_of_three() -> None:
    assert lower_bound(300, 300) == pytest.approx(1 - 3 / 300, abs=1e-4)
    assert lower_bound(0, 300) == 0.0


@pytest.mark.parametrize("rate", [0.9, 0.99])
def test_bound_never_promises_too_much(rate: float) -> None:
    """Exact: with every outcome weighed, the bound is above the true rate in at most 5 % of them."""
    n = 150
    above = sum(float(stats.binom.pmf(k, n, rate)) for k in range(n + 1) if lower_bound(k, n) > rate)
    assert above <= 0.05


@settings(max_examples=30, deadline=None)
@given(counts)
def test_bound_grows_with_successes_and_shrinks_with_confidence(count: tuple[int, int]) -> None:
    successes, n = count
    assert lower_bound(min(successes + 1, n), n) >= lower_bound(successes, n)
    assert lower_bound(successes, n, 0.99) <= lower_bound(successes, n, 0.9)


@pytest.mark.parametrize(("successes", "n"), [(3, 2), (-1, 5), (0, 0)])
def test_impossible_counts_are_refused(successes: int, n: int) -> None:
    for interval in (wilson, clopper_pearson, lower_bound):
        with pytest.raises(InvalidInput, match="successes"):
            interval(successes, n)
