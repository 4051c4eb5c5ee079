"""The interval of a median against scipy's binomial, and how often it holds the median."""

import numpy as np
import pytest
from scipy import stats

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.statistics.interval import Interval
from guerdon_service.core.statistics.median import median_interval


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("n", [8, 15, 20, 21, 101])
def test_its_ends_are_the_innermost_order_statistics_that_keep_the_level(n: int, confidence: float) -> None:
    found = median_interval(np.random.default_rng(n).permutation(np.arange(1.0, n + 1)), confidence)
    rank, below = int(found.low), stats.binom(n, 0.5)
    assert found == Interval((n + 1) / 2, rank, n + 1 - rank)
    assert 1 - 2 * below.cdf(rank - 1) >= confidence > 1 - 2 * below.cdf(rank)


def test_twenty_values_give_the_sixth_and_the_fifteenth() -> None:
    assert median_interval(range(1, 21)) == Interval(10.5, 6.0, 15.0)


def test_it_holds_the_median_of_a_skewed_distribution_as_often_as_it_says() -> None:
    draws = np.random.default_rng(0).lognormal(size=(4000, 20))
    holds = [(found := median_interval(row)).low <= 1.0 <= found.high for row in draws]
    exact = 1 - 2 * stats.binom.cdf(5, 20, 0.5)
    assert np.mean(holds) == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 4000))


@pytest.mark.parametrize(
    ("values", "confidence", "param"),
    [
        ([1.0] * 5, 0.95, "values"),
        ([1.0] * 6, 1.0, "confidence"),
        ([], 0.95, "values"),
        ([np.nan] * 9, 0.95, "values"),
    ],
)
def test_what_has_no_interval_is_refused(values: list[float], confidence: float, param: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        median_interval(values, confidence)
    assert refused.value.param == param
    assert median_interval([1.0] * 6) == Interval(1.0, 1.0, 1.0)
