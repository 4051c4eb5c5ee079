"""Intervals of means over items that share prompts."""

from importlib import import_module
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from guerdon_service.core.statistics.clustered import clustered_mean, clustered_rate
from guerdon_service.core.statistics.rates import wilson


def test_one_pair_per_prompt_is_close_to_wilson() -> None:
    values = (np.arange(400) % 5 > 1).astype(np.float64)
    found, plain = clustered_rate(values, range(400)), wilson(240, 400)
    assert found.value == plain.value
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=2e-3)


def test_pairs_of_one_prompt_that_agree_count_as_one() -> None:
    values = np.repeat((np.arange(100) % 5 > 1).astype(np.float64), 4)
    found, plain = clustered_rate(values, np.repeat(np.arange(100), 4).tolist()), wilson(60, 100)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=5e-3)


def test_rate_of_one_has_an_interval_from_the_number_of_prompts() -> None:
    assert clustered_rate(np.ones(40), np.repeat(np.arange(10), 4).tolist()).low == wilson(10, 10).low


def test_interval_covers_the_rate_of_clustered_data() -> None:
    """Nominal 95 %; the interval that ignores prompts covers it far less often."""
    generator = np.random.default_rng(0)
    clusters = np.repeat(np.arange(80), 6).tolist()
    covered = naive = 0
    for _ in range(300):
        chance = generator.beta(1, 1, 80)
        values = (generator.random((80, 6)) < chance[:, None]).astype(np.float64).ravel()
        found, plain = clustered_rate(values, clusters), wilson(float(values.sum()), len(values))
        covered += found.low <= 0.5 <= found.high
        naive += plain.low <= 0.5 <= plain.high
    assert 0.91 <= covered / 300 <= 0.985
    assert naive / 300 < 0.85


def test_mean_with_one_value_per_cluster_has_the_standard_error() -> None:
    values = np.random.default_rng(0).normal(3, 2, 50)
    found = clustered_mean(values, range(50))
    error = values.std(ddof=1) / np.sqrt(50)
    assert (found.high - found.value) == pytest.approx(stats.t.ppf(0.975, 49) * error, rel=1e-6)


def test_clustered_mean_equals_the_cluster_robust_regression() -> None:
    generator = np.random.default_rng(1)
    clusters = generator.integers(0, 40, 300)
    values = generator.normal(size=300) + generator.normal(size=40)[clusters]
    regression: Any = import_module("statsmodels.api").OLS(values, np.ones(300))
    error = float(regression.fit(cov_type="cluster", cov_kwds={"groups": clusters}).bse[0])
    found = clustered_mean(values, clusters)
    df = 300**2 / np.square(np.bincount(clusters)).sum() - 1
    half = stats.t.ppf(0.975, df) * error
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=1e-9)


def _sizes(generator: np.random.Generator, num: int) -> NDArray[np.int64]:
    """Items of each prompt: mostly one or two, here and there many."""
    return np.minimum(200, np.ceil(generator.pareto(1.2, num) + 1e-9)).astype(np.int64)


def test_intervals_cover_where_few_prompts_have_unequal_numbers_of_items() -> None:
    """20 prompts whose items are much alike; 600 samples leave an error of 0.9 points. With the normal
    quantile, and the number of prompts in place of the effective one, 84 % and 80 % hold the truth.
    """
    generator = np.random.default_rng(3)
    rates = means = 0
    for _ in range(600):
        codes = np.repeat(np.arange(20), _sizes(generator, 20))
        right = (generator.random(len(codes)) < generator.beta(1.4, 0.6, 20)[codes]).astype(np.float64)
        rate, mean = clustered_rate(right, codes), clustered_mean(right, codes)
        rates += rate.low <= 0.7 <= rate.high
        means += mean.low <= 0.7 <= mean.high
    assert rates / 600 >= 0.92
    assert means / 600 >= 0.89


@pytest.mark.parametrize("value", [0.7, 0.3, 1 / 3])
def test_rounding_is_no_variance_of_one_prompt(value: float) -> None:
    """Items of one prompt count as one observation, also where their sum is not exact."""
    found, one = clustered_rate(np.full(100, value), [0] * 100), wilson(value, 1)
    assert (found.low, found.high) == pytest.approx((one.low, one.high), abs=1e-12)
    many = clustered_rate(np.full(100, value), np.repeat(np.arange(10), 10).tolist())
    ten = wilson(10 * value, 10)
    assert (many.low, many.high) == pytest.approx((ten.low, ten.high), abs=1e-12)


def test_a_rate_of_one_prompt_does_not_count_its_items() -> None:
    right = (np.arange(100) % 10 < 7).astype(np.float64)
    found, one = clustered_rate(right, [0] * 100), wilson(0.7, 1)
    assert (found.low, found.high) == pytest.approx((one.low, one.high), abs=1e-12)


def test_a_mean_of_clusters_without_variance_has_the_spread_of_its_items() -> None:
    values = np.random.default_rng(2).normal(size=30)
    one = clustered_mean(values, [0] * 30)
    assert one.high - one.value == pytest.approx(1.959964 * values.std(), rel=1e-6)
    cancelling = clustered_mean(np.tile([0.1, 0.7], 9), np.repeat(np.arange(9), 2).tolist())
    assert cancelling.high - cancelling.value == pytest.approx(1.959964 * 0.3 / 3, rel=1e-6)
    same = clustered_mean(np.full(30, 0.7), range(30))
    assert same.high - same.low == pytest.approx(0.0, abs=1e-12)
