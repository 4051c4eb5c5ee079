"""Intervals against scipy and against simulation."""

import numpy as np
import pytest
from scipy.stats import binomtest

from guerdon_service.core.statistics.bootstrap import clustered_bootstrap
from guerdon_service.core.statistics.rates import wilson


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (37, 100), (612, 1072)])
def test_wilson_equals_scipy(successes: int, n: int) -> None:
    expected = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    got = wilson(successes, n)
    assert (got.low, got.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert got.value == successes / n


def test_bootstrap_of_independent_items_agrees_with_the_normal_interval() -> None:
    values = np.random.default_rng(1).normal(0.3, 1.0, 900)
    got = clustered_bootstrap(values, list(range(900)))
    half = 1.96 * values.std() / 30
    assert got.value == pytest.approx(values.mean())
    assert (got.low, got.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.005)


def test_repeating_every_item_does_not_narrow_the_interval() -> None:
    values = np.random.default_rng(2).normal(0.0, 1.0, 200)
    once = clustered_bootstrap(values, list(range(200)))
    sixfold = clustered_bootstrap(np.repeat(values, 6), list(np.repeat(np.arange(200), 6)))
    assert (sixfold.low, sixfold.high) == pytest.approx((once.low, once.high), abs=1e-12)
    assert clustered_bootstrap(np.repeat(values, 6), list(range(1200))).high < 0.6 * once.high


def test_bootstrap_is_repeatable() -> None:
    values = np.random.default_rng(3).normal(size=50)
    assert clustered_bootstrap(values, list(range(50))) == clustered_bootstrap(values, list(range(50)))
