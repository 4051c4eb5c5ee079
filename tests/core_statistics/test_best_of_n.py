"""Best of n against exact enumeration and simulation."""

from itertools import combinations, product
from math import log, prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.statistics.best_of_n import (
    best_of_n_mean,
    expected_win_rate_bound,
    kl_divergence,
    kl_estimate,
    kl_upper_bound,
    selection_distribution,
)

Floats = NDArray[np.float64]
policies = st.lists(st.tuples(st.floats(0.01, 1), st.integers(0, 3)), min_size=1, max_size=6)


def _policy(rows: list[tuple[float, int]]) -> tuple[Floats, Floats]:
    weights, rewards = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    return weights / weights.sum(), rewards


@pytest.mark.parametrize(
    ("n", "kl", "win_rate"),
    [(1, 0.0, 0.5), (2, 0.193, 0.667), (4, 0.636, 0.8), (16, 1.835, 0.941), (256, 4.549, 0.996)],
)
def test_published_bounds(n: int, kl: float, win_rate: float) -> None:
    assert kl_upper_bound(n) == pytest.approx(kl, abs=5e-4)
    assert expected_win_rate_bound(n) == pytest.approx(win_rate, abs=5e-4)


@settings(max_examples=40, deadline=None)
@given(policies, st.integers(1, 3))
def test_selection_equals_enumeration_of_every_draw(rows: list[tuple[float, int]], n: int) -> None:
    p, rewards = _policy(rows)
    expected = np.zeros(len(p))
    for drawn in product(range(len(p)), repeat=n):
        best = [i for i in drawn if rewards[i] == max(rewards[j] for j in drawn)]
        for i in best:
            expected[i] += prod(p[j] for j in drawn) / len(best)
    np.testing.assert_allclose(selection_distribution(p, rewards, n), expected, atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(policies, st.integers(1, 64))
def test_bounds_and_estimate_hold_for_every_policy(rows: list[tuple[float, int]], n: int) -> None:
    """KL <= Beirami's estimate <= the bound; win rate, ties as half, <= n / (n + 1)."""
    p, rewards = _policy(rows)
    q = selection_distribution(p, rewards, n)
    assert q.sum() == pytest.approx(1.0)
    estimate = sum(qi * kl_estimate(n, min(1.0, pi)) for qi, pi in zip(q, p, strict=True))
    assert kl_divergence(q, p) <= estimate + 1e-9
    assert estimate <= kl_upper_bound(n) + 1e-9
    wins = (np.sign(rewards[:, None] - rewards[None]) + 1) / 2
    assert q @ wins @ p <= expected_win_rate_bound(n) + 1e-9


def test_bounds_are_reached_by_answers_that_never_repeat() -> None:
    p, rewards = np.full(20_000, 1 / 20_000), np.arange(20_000.0)
    q = selection_distribution(p, rewards, 8)
    assert kl_divergence(q, p) == pytest.approx(kl_upper_bound(8), abs=1e-3)
    above = np.cumsum(p) - p / 2
    assert q @ above == pytest.approx(expected_win_rate_bound(8), abs=1e-3)
    assert kl_estimate(8, 0.0) == kl_upper_bound(8)
    assert kl_estimate(8, 1.0) == 0.0
    assert kl_estimate(8, 1e-300) == pytest.approx(kl_upper_bound(8))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.floats(-2, 2)), min_size=1, max_size=8), st.integers(1, 8))
def test_estimator_equals_the_mean_over_every_subset(samples: list[tuple[int, float]], n: int) -> None:
    proxy, gold = (np.array(column, dtype=np.float64) for column in zip(*samples, strict=True))
    n = min(n, len(proxy))
    values = []
    for subset in combinations(range(len(proxy)), n):
        chosen = list(subset)
        top = proxy[chosen] == proxy[chosen].max()
        # Ties are broken evenly over all samples of that proxy, whose mean this is on average.
        values.append(gold[chosen][top].mean())
    assert best_of_n_mean(proxy, gold, n) == pytest.approx(np.mean(values), abs=1e-12)


def test_estimator_is_unbiased_and_steadier_than_one_draw() -> None:
    p, rewards = _policy([(0.4, 0), (0.3, 1), (0.2, 2), (0.1, 3)])
    gold = np.array([0.0, 1.0, 3.0, -2.0])
    true = float(selection_distribution(p, rewards, 4) @ gold)
    generator = np.random.default_rng(0)
    drawn = generator.choice(4, (3000, 32), p=p)
    estimates = [best_of_n_mean(rewards[row], gold[row], 4) for row in drawn]
    assert np.mean(estimates) == pytest.approx(true, abs=4 * np.std(estimates) / np.sqrt(3000))
    single = gold[drawn[np.arange(3000), rewards[drawn[:, :4]].argmax(axis=1)]]
    assert np.std(estimates) < 0.6 * np.std(single)


def test_thousands_of_samples_do_not_overflow() -> None:
    proxy = np.random.default_rng(1).permutation(5000).astype(np.float64)
    found = best_of_n_mean(proxy, proxy, 1000)
    assert found == pytest.approx((5000 + 1) * 1000 / 1001 - 1)  # mean of the largest rank
    assert best_of_n_mean(proxy, proxy, 5000) == 4999


@given(st.integers(1, 1000))
def test_more_samples_never_lower_the_bounds(n: int) -> None:
    assert kl_upper_bound(n) < kl_upper_bound(n + 1) <= log(n + 1)
    assert expected_win_rate_bound(n) < expected_win_rate_bound(n + 1) < 1


def test_what_has_no_answer_is_refused() -> None:
    with pytest.raises(InvalidInput, match="n of 0"):
        kl_upper_bound(0)
    with pytest.raises(InvalidInput, match="as many samples"):
        best_of_n_mean([1.0], [1.0], 2)
    with pytest.raises(InvalidInput, match="sum to"):
        selection_distribution([0.5, 0.2], [1, 2], 2)
    with pytest.raises(InvalidInput, match="never gives"):
        kl_divergence([0.5, 0.5], [1.0, 0.0])
    with pytest.raises(InvalidInput, match="probability"):
        kl_estimate(2, 1.5)
