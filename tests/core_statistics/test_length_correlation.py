"""How rewards follow length: against scipy, and against leaving prompts out."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.statistics.length_correlation import length_correlation, length_rise

Floats = NDArray[np.float64]


def _tied(seed: int, num: int = 60) -> tuple[Floats, Floats, Floats]:
    """Margins of two models and differences of length, small whole numbers: many are equal, some are 0."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(-5, 6, num).astype(np.float64)
    ours, theirs = (np.round(s * lengths + generator.normal(0, 3, num)) for s in (0.8, -0.3))
    return ours, theirs, lengths


def test_it_is_spearmans_over_both_orders() -> None:
    ours, _, lengths = _tied(0)
    expected = stats.spearmanr([*ours, *-ours], [*lengths, *-lengths]).statistic
    assert length_correlation(ours, lengths) == pytest.approx(expected, abs=1e-12)
    assert length_correlation(-ours, -lengths) == length_correlation(ours, lengths)
    assert length_correlation([1.0, 2.0], [0.0, 0.0]) == 0.0


def test_the_rise_is_the_difference_without_signs_and_of_opposite_sides() -> None:
    ours, theirs, lengths = _tied(1)
    found = length_rise(ours, theirs, lengths, range(60))
    first, second = (abs(length_correlation(m, lengths)) for m in (ours, theirs))
    assert found.value == pytest.approx(first - second, abs=1e-12)
    back = length_rise(theirs, ours, lengths, range(60))
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low), abs=1e-12)
    same = length_rise(ours, -ours, lengths, range(60))
    assert (same.low, same.high) == pytest.approx((0.0, 0.0), abs=1e-12)


def test_its_interval_is_that_of_leaving_each_prompt_out() -> None:
    """Against the jackknife over clusters (Efron and Stein, 1981)."""
    ours, theirs, lengths = _tied(2, 240)
    prompts = np.repeat(np.arange(80), 3)
    found = length_rise(ours, theirs, lengths, prompts)
    left = [
        length_rise(*(v[prompts != p] for v in (ours, theirs, lengths, prompts))).value for p in range(80)
    ]
    error = np.sqrt(79 / 80 * np.square(np.array(left) - np.mean(left)).sum())
    assert (found.high - found.low) / 2 == pytest.approx(stats.t.ppf(0.975, 79) * error, rel=0.05)


def test_a_pair_given_four_times_counts_once() -> None:
    ours, theirs, lengths = _tied(3)
    once = length_rise(ours, theirs, lengths, range(60))
    often = length_rise(*(np.repeat(v, 4) for v in (ours, theirs, lengths, np.arange(60))))
    assert (often.value, often.low, often.high) == pytest.approx((once.value, once.low, once.high), abs=1e-9)


def test_one_prompt_and_constant_rewards_show_nothing() -> None:
    ours, theirs, lengths = _tied(4)
    one = length_rise(ours, theirs, lengths, [0] * 60)
    assert one.low <= 0.0 <= one.high and -1.0 <= one.low < one.high <= 1.0
    flat = length_rise(np.zeros(60), np.zeros(60), lengths, range(60))
    assert (flat.value, flat.low, flat.high) == (0.0, 0.0, 0.0)
    with pytest.raises(InvalidInput, match="baseline"):
        length_rise(ours, theirs[1:], lengths, range(60))
