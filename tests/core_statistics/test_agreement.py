"""Krippendorff's alpha, Cohen and Fleiss kappa against the reference packages."""

import tracemalloc
from typing import Literal

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from guerdon_service.core.statistics.agreement import krippendorff_alpha
from guerdon_service.core.statistics.interval import Interval
from guerdon_service.core.statistics.kappa import cohen_kappa, fleiss_kappa

Table = list[list[int]]

counts_tables = st.integers(2, 5).flatmap(
    lambda k: st.lists(st.lists(st.integers(0, 4), min_size=k, max_size=k), min_size=2, max_size=12)
)


def _rated(table: Table) -> np.ndarray:
    return np.array([row for row in table if sum(row) >= 2], np.float64).reshape(-1, len(table[0]))


def _alpha(counts: np.ndarray, *, ordinal: bool) -> Interval:
    """Of a table [items, labels] of how often each was given."""
    places = np.indices(counts.shape).reshape(2, -1)
    items, labels = np.repeat(places, counts.ravel().astype(np.int64), axis=1)
    return krippendorff_alpha(items, labels, ordinal=ordinal)


@pytest.mark.parametrize("level", ["nominal", "ordinal"])
@settings(max_examples=60, deadline=None)
@given(table=counts_tables)
def test_alpha_equals_the_reference(level: Literal["nominal", "ordinal"], table: Table) -> None:
    counts = _rated(table)
    if len(counts) == 0 or (counts.sum(axis=0) > 0).sum() < 2:
        return  # the reference refuses a domain of one value
    expected = krippendorff.alpha(
        value_counts=counts, value_domain=list(range(counts.shape[1])), level_of_measurement=level
    )
    found = _alpha(counts, ordinal=level == "ordinal")
    assert found.value == pytest.approx(expected, abs=1e-10)
    assert found.low <= found.high


@pytest.mark.parametrize("level", ["nominal", "ordinal"])
def test_ratings_that_are_all_different_have_the_alpha_of_the_reference(
    level: Literal["nominal", "ordinal"],
) -> None:
    ratings = _all_different(100)
    counts = np.zeros((100, 300))
    counts[np.repeat(np.arange(100), 3), ratings.ravel()] = 1.0
    assert _alpha(counts, ordinal=level == "ordinal").value == pytest.approx(
        krippendorff.alpha(value_counts=counts, level_of_measurement=level), abs=1e-10
    )


def test_ratings_that_are_all_different_take_memory_by_their_number() -> None:
    """Of 3,000 items by 3 people a table of items by ratings is 206 MiB, one of ratings by ratings 618."""
    ratings = _all_different(3000)
    tracemalloc.start()
    try:
        krippendorff_alpha(np.repeat(np.arange(3000), 3), ratings.ravel(), ordinal=True)
        krippendorff_alpha(np.repeat(np.arange(3000), 3), ratings.ravel(), ordinal=False)
        fleiss_kappa(ratings)
        cohen_kappa(ratings[:, 0], ratings[:, 1], ratings.size)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64e6


@pytest.mark.parametrize("num_labels", [3, 40_000])
def test_many_people_on_few_items_take_memory_by_the_number_of_their_labels(num_labels: int) -> None:
    """40,000 labels in each of 1000 resamples would be 305 MiB."""
    labels = _all_different(10, 4000).ravel() % num_labels
    tracemalloc.start()
    try:
        found = krippendorff_alpha(np.repeat(np.arange(10), 4000), labels, ordinal=True)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64e6
    assert found.low < found.value < found.high


def _all_different(num_items: int, num_people: int = 3) -> np.ndarray:
    """Ranks of what people give each item, int64 [items, people]."""
    generator = np.random.default_rng(0)
    ratings = generator.normal(size=(num_items, 1)) + generator.normal(size=(num_items, num_people))
    return ratings.argsort(axis=None).argsort().reshape(ratings.shape)


def test_alpha_is_one_when_nobody_disagrees() -> None:
    assert _alpha(np.array([[3.0, 0], [0, 3]]), ordinal=False).value == 1.0
    assert _alpha(np.array([[3.0, 0], [3, 0]]), ordinal=False).value == 1.0


def test_alpha_interval_covers_the_value_of_the_population() -> None:
    """Nominal coverage 95 %; 80 sets of 80 items leave a standard error of 2.4 points."""
    generator = np.random.default_rng(0)

    def sample(num_items: int) -> np.ndarray:
        truth = generator.integers(0, 3, num_items)
        wrong = generator.random((num_items, 4)) < 0.3
        labels = np.where(wrong, generator.integers(0, 3, (num_items, 4)), truth[:, None])
        return np.stack([(labels == k).sum(axis=1) for k in range(3)], axis=1).astype(np.float64)

    population = _alpha(sample(50_000), ordinal=False).value
    found = [_alpha(sample(80), ordinal=False) for _ in range(80)]
    covered = np.mean([i.low <= population <= i.high for i in found])
    assert 0.87 <= covered <= 0.995


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=40))
def test_cohen_kappa_equals_the_reference(labels: list[tuple[int, int]]) -> None:
    first, second = np.array(labels, np.int64).T
    if len(set(first.tolist() + second.tolist())) == 1:
        assert cohen_kappa(first, second, 4) == 1.0  # the reference gives NaN
    else:
        assert cohen_kappa(first, second, 4) == pytest.approx(cohen_kappa_score(first, second), abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), min_size=5, max_size=5), min_size=2, max_size=20))
def test_fleiss_kappa_follows_from_the_reference_alpha(labels: Table) -> None:
    """With n labels, 1 - alpha = (1 - kappa) (n - 1) / n: alpha draws its chance pairs without return."""
    counts = np.stack([np.bincount(row, minlength=4) for row in labels]).astype(np.float64)
    if (counts.sum(axis=0) > 0).sum() < 2:
        assert fleiss_kappa(np.array(labels)) == 1.0
        return
    alpha = krippendorff.alpha(value_counts=counts, level_of_measurement="nominal")
    total = counts.sum()
    assert fleiss_kappa(np.array(labels)) == pytest.approx(1 - (1 - alpha) * total / (total - 1), abs=1e-10)


def test_gathered_bootstrap_has_the_spread_of_one_over_items() -> None:
    counts = np.array([[3.0, 0]] * 60 + [[0, 3.0]] * 50 + [[2.0, 1]] * 30 + [[1.0, 2]] * 20)
    found = _alpha(counts, ordinal=False)
    generator = np.random.default_rng(1)
    drawn = [
        krippendorff.alpha(value_counts=counts[rows], level_of_measurement="nominal")
        for rows in generator.integers(160, size=(1000, 160))
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.02)
    assert found.high == pytest.approx(high, abs=0.02)
