"""The e-process: its error under continuous peeking, and how soon it sees a shift."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import betaln

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.statistics.e_process import PRIOR, EProcess

Floats = NDArray[np.float64]


def _first_alarms(outcomes: Floats, null: float, alpha: float) -> NDArray[np.int64]:
    """First look at which each row [runs, looks] is refuted; -1 never. The wealth again, in scipy."""
    wins = outcomes.cumsum(axis=1)
    losses = np.arange(1, outcomes.shape[1] + 1) - wins
    wealth = betaln(PRIOR + wins, PRIOR + losses) - betaln(PRIOR, PRIOR)
    crossed = wealth - wins * np.log(null) - losses * np.log1p(-null) >= -np.log(alpha)
    return np.where(crossed.any(axis=1), crossed.argmax(axis=1) + 1, -1)


def _run(outcomes: Floats, null: float, alpha: float) -> int:
    process = EProcess(null)
    for look, outcome in enumerate(outcomes.tolist(), 1):
        process = process.observe(outcome)
        if process.rejects(alpha):
            return look
    return -1


def test_the_fast_simulation_below_is_the_process() -> None:
    outcomes = (np.random.default_rng(0).random((10, 400)) < 0.62).astype(np.float64)
    assert _first_alarms(outcomes, 0.5, 0.05).tolist() == [_run(row, 0.5, 0.05) for row in outcomes]


@pytest.mark.parametrize("null", [0.5, 0.2])
@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_false_alarms_with_a_look_after_every_outcome(null: float, alpha: float) -> None:
    """At most alpha of 1,000 runs of 1,500 looks, with 3 standard errors of slack."""
    outcomes = (np.random.default_rng(1).random((1000, 1500)) < null).astype(np.float64)
    alarms = (_first_alarms(outcomes, null, alpha) > 0).mean()
    assert alarms <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / 1000)
    assert alarms > 0  # it does bet


def test_a_fixed_test_with_the_same_peeking_alarms_many_times_as_often() -> None:
    outcomes = (np.random.default_rng(2).random((500, 2000)) < 0.5).astype(np.float64)
    n = np.arange(1, 2001)
    z = np.abs(outcomes.cumsum(axis=1) - n / 2) / np.sqrt(n / 4)
    assert (z[:, 20:] > 1.96).any(axis=1).mean() > 0.3


def test_ties_and_any_outcome_between_are_allowed() -> None:
    """Mean one half from three values: no more false alarms than with coins."""
    outcomes = np.random.default_rng(3).choice([0.0, 0.5, 1.0], (1000, 1000))
    assert (_first_alarms(outcomes, 0.5, 0.05) > 0).mean() <= 0.05


@pytest.mark.parametrize("rate", [0.6, 0.4])
def test_a_shift_of_ten_points_is_seen(rate: float) -> None:
    outcomes = (np.random.default_rng(4).random((500, 1000)) < rate).astype(np.float64)
    alarms = _first_alarms(outcomes, 0.5, 0.05)
    assert (alarms > 0).mean() > 0.97
    assert 150 < np.median(alarms[alarms > 0]) < 450


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), max_size=50), st.floats(0.05, 0.95))
def test_order_does_not_matter_and_the_sides_mirror(outcomes: list[float], null: float) -> None:
    one, backwards, mirrored = EProcess(null), EProcess(null), EProcess(1 - null)
    for outcome, other in zip(outcomes, reversed(outcomes), strict=True):
        one, backwards = one.observe(outcome), backwards.observe(other)
        mirrored = mirrored.observe(1 - outcome)
    assert one.log_wealth == pytest.approx(backwards.log_wealth, abs=1e-9)
    assert one.log_wealth == pytest.approx(mirrored.log_wealth, abs=1e-9)
    assert one.num == len(outcomes)


@given(st.integers(0, 40), st.integers(0, 40), st.floats(0.05, 0.95))
def test_the_next_outcome_is_a_fair_bet_under_the_null(wins: int, losses: int, null: float) -> None:
    process = EProcess(null, wins + losses, float(wins))
    expected = null * process.observe(1.0).e_value + (1 - null) * process.observe(0.0).e_value
    assert expected == pytest.approx(process.e_value, rel=1e-9)


def test_no_outcome_no_evidence_and_much_evidence_no_overflow() -> None:
    assert EProcess().e_value == pytest.approx(1.0)
    assert EProcess(0.5, 100_000, 100_000.0).e_value == float("inf")
    assert EProcess(0.5, 100_000, 100_000.0).rejects(1e-12)


def test_what_is_no_outcome_is_refused() -> None:
    with pytest.raises(InvalidInput, match="outcome"):
        EProcess().observe(1.5)
    with pytest.raises(InvalidInput, match="null"):
        EProcess(1.0)
