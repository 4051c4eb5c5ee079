"""Flip rate and noise ceiling against simulated annotators."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from guerdon_service.core.statistics.noise import (
    ceiling,
    flip_rate,
    flip_rate_of_cycles,
    majority_ceiling,
    pairwise_agreement,
)

NUM_ITEMS = 20_000


def _votes(flip: NDArray[np.float64], num_votes: int) -> NDArray[np.float64]:
    """Counts [items, 2] of right and flipped votes, each item with its own flip rate."""
    right = np.random.default_rng(0).binomial(num_votes, 1 - flip)
    return np.stack([right, num_votes - right], axis=1).astype(np.float64)


def _perfect_model(flip: NDArray[np.float64]) -> float:
    """Accuracy against a fresh label of a model that knows the truth; a coin toss may go either way."""
    return float((np.random.default_rng(1).random(len(flip)) >= np.minimum(flip, 1 - flip)).mean())


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.35])
def test_even_noise_reaches_the_upper_bound(rate: float) -> None:
    flip = np.full(NUM_ITEMS, rate)
    agreement = pairwise_agreement(_votes(flip, 3))
    assert flip_rate(agreement.value) == pytest.approx(rate, abs=0.01)
    assert ceiling(agreement.value)[1] == pytest.approx(_perfect_model(flip), abs=0.01)
    assert agreement.value == pytest.approx((1 - rate) ** 2 + rate**2, abs=agreement.high - agreement.low)


def test_certain_items_and_coin_tosses_reach_the_lower_bound() -> None:
    flip = np.where(np.arange(NUM_ITEMS) % 2, 0.5, 0.0)
    low, high = ceiling(pairwise_agreement(_votes(flip, 3)).value)
    assert low == pytest.approx(_perfect_model(flip), abs=0.01)
    assert low < high - 0.05


@given(st.lists(st.floats(0, 0.5), min_size=1, max_size=20))
def test_any_mixture_of_items_lies_between_the_bounds(flips: list[float]) -> None:
    flip = np.array(flips)
    agreement = float((np.square(flip) + np.square(1 - flip)).mean())
    low, high = ceiling(agreement)
    assert low - 1e-9 <= (1 - flip).mean() <= high + 1e-9


@given(st.lists(st.lists(st.floats(0.01, 1), min_size=4, max_size=4), min_size=1, max_size=10))
def test_bounds_hold_for_four_labels(weights: list[list[float]]) -> None:
    probabilities = np.array(weights) / np.sum(weights, axis=1, keepdims=True)
    agreement = float(np.square(probabilities).sum(axis=1).mean())
    low, high = ceiling(agreement, 4)
    assert low - 1e-9 <= probabilities.max(axis=1).mean() <= high + 1e-9


@given(st.floats(0, 0.5))
def test_flip_rate_inverts_agreement(rate: float) -> None:
    assert flip_rate((1 - rate) ** 2 + rate**2) == pytest.approx(rate, abs=1e-7)


@pytest.mark.parametrize(
    ("agreement", "rate", "best"), [(0.60, 0.276, 0.724), (0.63, 0.245, 0.755), (0.773, 0.131, 0.869)]
)
def test_published_agreement_gives_the_known_ceiling(agreement: float, rate: float, best: float) -> None:
    assert flip_rate(agreement) == pytest.approx(rate, abs=5e-4)
    assert ceiling(agreement)[1] == pytest.approx(best, abs=5e-4)


def test_agreement_worse_than_chance_is_a_coin_toss() -> None:
    assert ceiling(0.4) == (0.5, 0.5)
    assert flip_rate(0.4) == 0.5


def test_majority_of_five_equals_simulation() -> None:
    flip = np.full(NUM_ITEMS, 0.3)
    votes = _votes(flip, 5)
    assert majority_ceiling(0.7**2 + 0.3**2, 5)[1] == pytest.approx((votes[:, 0] > 2).mean(), abs=0.01)


def test_ties_and_single_votes_are_left_out_of_agreement() -> None:
    counts = np.array([[3.0, 0], [1, 1], [1, 0]])
    assert pairwise_agreement(counts).value == 0.5


def test_agreement_counts_prompts_and_not_items() -> None:
    votes = _votes(np.full(80, 0.2), 3)
    once = pairwise_agreement(votes)
    copies = pairwise_agreement(np.repeat(votes, 5, axis=0), np.repeat(np.arange(80), 5))
    assert (copies.low, copies.high) == pytest.approx((once.low, once.high), abs=0.02)
    one = pairwise_agreement(np.repeat(votes[:1], 5, axis=0), [0] * 5)
    assert (one.low, one.high) == (0.0, 1.0)


def test_cycles_give_back_the_flip_rate_of_three_comparisons() -> None:
    generator = np.random.default_rng(0)
    ab, bc, ac = generator.random((3, 200_000)) < 0.2  # flipped comparisons of a true order a > b > c
    cyclic = (~ab & ~bc & ac) | (ab & bc & ~ac)
    assert flip_rate_of_cycles(float(cyclic.mean())) == pytest.approx(0.2, abs=0.005)
    assert flip_rate_of_cycles(0.3) == 0.5
