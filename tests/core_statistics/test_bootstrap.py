"""Bootstrap over clusters, against theory and against a plain one."""

import tracemalloc

import numpy as np
import pytest

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.statistics import resample
from guerdon_service.core.statistics.bootstrap import clustered_bootstrap


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


def test_interval_covers_the_mean_of_few_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 6 the middle 95 % of the resamples hold the mean in 83 %; 500 samples leave an error of 1 point."""
    monkeypatch.setattr(resample, "NUM_RESAMPLES", 1000)
    generator = np.random.default_rng(8)
    for num in (6, 20):
        found = [clustered_bootstrap(generator.normal(size=num), range(num)) for _ in range(500)]
        assert 0.92 <= np.mean([i.low <= 0.0 <= i.high for i in found]) <= 0.98


def test_interval_covers_the_mean_where_a_few_items_weigh_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 10 in place of the effective number of clusters, here some 3, it holds the mean in 90 %."""
    monkeypatch.setattr(resample, "NUM_RESAMPLES", 1000)
    generator = np.random.default_rng(9)
    covered = 0
    for _ in range(600):
        weights = np.exp(2.0 * generator.normal(size=10))
        found = clustered_bootstrap(generator.normal(size=10), range(10), weights=weights)
        covered += found.low <= 0.0 <= found.high
    assert 0.93 <= covered / 600 <= 0.99


def test_bootstrap_is_repeatable() -> None:
    values = np.random.default_rng(3).normal(size=50)
    assert clustered_bootstrap(values, list(range(50))) == clustered_bootstrap(values, list(range(50)))


def test_gathered_clusters_give_the_interval_of_the_plain_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(4)
    values = (generator.random(600) < 0.7).astype(np.float64)
    clusters = np.repeat(np.arange(200), 3)
    gathered = clustered_bootstrap(values, clusters)
    monkeypatch.setattr(resample, "_GATHER", 10**9)
    plain = clustered_bootstrap(values, clusters)
    assert gathered.value == plain.value
    assert (gathered.low, gathered.high) == pytest.approx((plain.low, plain.high), abs=0.003)


def test_weighted_mean_is_the_ratio_of_the_totals() -> None:
    """Against the linearised standard error of a ratio (Cochran, 1977, 6.4)."""
    generator = np.random.default_rng(5)
    values, weights = generator.normal(1.0, 0.5, 800), generator.uniform(0.5, 2.0, 800)
    found = clustered_bootstrap(values, range(800), weights=weights)
    ratio = (weights * values).sum() / weights.sum()
    error = np.sqrt((weights**2 * (values - ratio) ** 2).sum()) / weights.sum()
    assert found.value == pytest.approx(ratio)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.05)


def test_memory_is_bounded_for_a_hundred_thousand_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resample, "MAX_DRAWS", 3_000_000)
    monkeypatch.setattr(resample, "MIN_RESAMPLES", 30)
    values, clusters = np.random.default_rng(6).normal(size=100_000), np.arange(100_000)
    tracemalloc.start()
    clustered_bootstrap(values, clusters)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6


def test_missing_keys_and_weights_of_nothing_are_refused() -> None:
    with pytest.raises(InvalidInput, match="clusters"):
        clustered_bootstrap([1.0, 2.0], ["a"])
    with pytest.raises(InvalidInput, match="weights"):
        clustered_bootstrap([1.0, 2.0], ["a", "b"], weights=[1.0, 0.0])
    with pytest.raises(InvalidInput, match="at least one"):
        clustered_bootstrap([], [])
    with pytest.raises(InvalidInput, match="NaN"):
        clustered_bootstrap([float("nan")], ["a"])
