"""Pairs and best-of-n from scores."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from guerdon_service.core.calibration import Calibration
from guerdon_service.core.preference import prefer, rank
from guerdon_service.core.result import Score

rewards = st.floats(allow_nan=False, allow_infinity=False)
members = st.tuples(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300))
"""Deviations of two members."""
calibrations = st.builds(
    Calibration, slope=st.floats(1e-6, 1e6), slope_se=st.floats(0, 1e6), num_pairs=st.sampled_from([0, 100])
)


def score(reward: float, deviations: tuple[float, ...] = ()) -> Score:
    return Score(reward, {"r": reward}, {"r": reward}, deviations, tokens=3, truncated=False, cached=False)


@given(rewards, members, rewards, members, calibrations)
@example(1e308, (0.0, 0.0), -1e308, (0.0, 0.0), Calibration(slope=1e6, slope_se=1e6, num_pairs=9))
def test_swapping_mirrors_the_preference(
    a: float, a_members: tuple[float, ...], b: float, b_members: tuple[float, ...], calibration: Calibration
) -> None:
    one = prefer(score(a, a_members), score(b, b_members), calibration)
    other = prefer(score(b, b_members), score(a, a_members), calibration)
    assert one.p_a + other.p_a == 1.0
    assert (one.low, one.high) == (1.0 - other.high, 1.0 - other.low)
    assert one.margin == -other.margin
    assert {one.preferred, other.preferred} in ({"tie"}, {"a", "b"})
    assert (one.preferred == "tie") == (a == b)
    assert (one.preferred == "a") == (a > b)
    assert (one.a, one.b) == (other.b, other.a)


def test_equal_rewards_tie_at_one_half() -> None:
    got = prefer(score(1.5, (0.5, -0.5)), score(1.5, (0.0, 0.0)), Calibration(2.0, num_pairs=9))
    assert (got.p_a, got.margin, got.preferred) == (0.5, 0.0, "tie")
    assert got.low < 0.5 < got.high
    assert got.low + got.high == 1.0


def test_the_interval_is_as_wide_as_the_members_margins_differ() -> None:
    """Margins of -1 and 3 about their mean 1: a standard deviation of sqrt(8), whatever each side's own."""
    a, b = (4.0, 6.0), (5.0, 3.0)
    got = prefer(score(5.0, deviations(a)), score(4.0, deviations(b)), Calibration(1.0, num_pairs=9))
    assert got.high == pytest.approx(1 / (1 + math.exp(-(1.0 + 1.959963984540054 * 8**0.5))))


def test_what_members_share_is_no_disagreement() -> None:
    """Each member gives both responses the same: every margin is 0, however far apart the members are."""
    got = prefer(
        score(5.0, deviations((0.0, 10.0))),
        score(5.0, deviations((0.0, 10.0))),
        Calibration(1.0, num_pairs=9),
    )
    assert (got.low, got.p_a, got.high) == (0.5, 0.5, 0.5)


def deviations(rewards: tuple[float, float]) -> tuple[float, ...]:
    """Of two equal members, as `Score` has them."""
    mean = sum(rewards) / 2
    return tuple(r - mean for r in rewards)


some_rewards = st.lists(st.sampled_from([-1.0, 0.0, -0.0, 2.5]) | rewards, min_size=1, max_size=12)


@given(some_rewards, calibrations, st.none() | st.integers(1, 15))
@example([1e308, -1e308, 1e308], Calibration(slope=1e6), None)
@example([-1e308, -1e308], Calibration(slope=1e6), 1)
def test_best_first_and_ties_keep_their_order(
    values: list[float], calibration: Calibration, top_k: int | None
) -> None:
    ranked = rank([score(v) for v in values], calibration, top_k)
    expected = np.argsort(-np.array(values), kind="stable")
    assert [r.index for r in ranked] == expected[:top_k].tolist()
    assert [r.score.reward for r in ranked] == [values[r.index] for r in ranked]


@given(some_rewards, calibrations)
@example([1e308, -1e308, 0.0], Calibration(slope=1e6))
def test_chances_sum_to_one_and_fall(values: list[float], calibration: Calibration) -> None:
    chances = [r.p_best for r in rank([score(v) for v in values], calibration, None)]
    assert math.fsum(chances) == pytest.approx(1.0, abs=1e-12)
    assert all(0.0 <= c <= 1.0 for c in chances)
    assert chances == sorted(chances, reverse=True)


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=8), st.floats(0.1, 5))
def test_chances_are_the_softmax(values: list[float], slope: float) -> None:
    weights = np.exp(np.array(values) * slope)
    for r in rank([score(v) for v in values], Calibration(slope), None):
        assert r.p_best == pytest.approx((weights / weights.sum())[r.index], rel=1e-9)


@given(some_rewards, calibrations, st.integers(1, 5))
def test_top_k_keeps_the_chances_over_all(values: list[float], calibration: Calibration, top_k: int) -> None:
    scores = [score(v) for v in values]
    assert rank(scores, calibration, top_k) == rank(scores, calibration, None)[:top_k]


@given(rewards, rewards, st.floats(0.01, 10))
def test_of_two_the_chance_is_the_preference(a: float, b: float, slope: float) -> None:
    calibration = Calibration(slope)
    by_index = {r.index: r.p_best for r in rank([score(a), score(b)], calibration, None)}
    assert by_index[0] == pytest.approx(prefer(score(a), score(b), calibration).p_a, rel=1e-9, abs=1e-12)
