"""Calibration error, Brier and log loss against scikit-learn and brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.statistics import resample
from guerdon_service.core.statistics.calibration_error import (
    NUM_BINS,
    calibration_error,
    log_losses,
    squared_errors,
)

Floats = NDArray[np.float64]


def _draw(num: int, temperature: float, seed: int = 0) -> tuple[Floats, Floats]:
    """Probabilities of logits that are `temperature` times too large, and outcomes."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1.5, num)
    outcomes = (generator.random(num) < 1 / (1 + np.exp(-logits))).astype(np.float64)
    return 1 / (1 + np.exp(-temperature * logits)), outcomes


def _symmetrised(p: Floats, y: Floats, num_bins: int) -> float:
    """By definition: both orders of every pair, sorted, in bins of equal mass. No equal probabilities."""
    p, y = np.concatenate([p, 1 - p]), np.concatenate([y, 1 - y])
    order = np.argsort(p)
    parts = zip(np.array_split(p[order], num_bins), np.array_split(y[order], num_bins), strict=True)
    return float(sum(abs(a.mean() - b.mean()) * len(a) for a, b in parts) / len(p))


@pytest.mark.parametrize("seed", range(5))
def test_error_is_that_of_the_symmetrised_set(seed: int) -> None:
    p, y = _draw(500, 1.4, seed)
    found = calibration_error(p, y, range(500))
    assert found.ece.value == pytest.approx(_symmetrised(p, y, 2 * NUM_BINS), abs=1e-12)


def test_rows_equal_scikit_learns_reliability_curve() -> None:
    p, y = _draw(500, 0.7)
    found = calibration_error(p, y, range(500))
    right = np.where(p > 0.5, y, 1 - y)
    accuracy, confidence = calibration_curve(right, np.maximum(p, 1 - p), n_bins=10, strategy="quantile")
    assert [row.confidence for row in found.bins] == pytest.approx(list(confidence), abs=1e-12)
    assert [row.accuracy.value for row in found.bins] == pytest.approx(list(accuracy), abs=1e-12)
    assert [row.num_items for row in found.bins] == [50] * 10


def test_losses_equal_scikit_learns() -> None:
    p, y = _draw(400, 1.2)
    found = calibration_error(p, y, range(400))
    assert found.brier.value == pytest.approx(brier_score_loss(y, p), abs=1e-12)
    assert found.nll.value == pytest.approx(log_loss(y, p), abs=1e-12)
    p[0], y[0] = 0.0, 1.0  # certain and wrong: finite, as there
    assert log_losses(p, y).mean() == pytest.approx(log_loss(y, p), abs=1e-12)


def test_soft_labels_are_the_mean_over_the_votes() -> None:
    p, votes = np.array([0.2, 0.7, 0.9]), np.array([[1, 0, 0, 0], [1, 1, 1, 0], [1, 1, 0, 0]])
    for loss in (log_losses, squared_errors):
        by_vote = np.mean([loss(p, column) for column in votes.T], axis=0)
        np.testing.assert_allclose(loss(p, votes.mean(axis=1)), by_vote, atol=1e-12)
    coin = np.full(3, 0.5)
    assert squared_errors(coin, votes.mean(axis=1)).tolist() == [0.25] * 3


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0])), min_size=1, max_size=40), st.data()
)
def test_neither_the_order_in_a_pair_nor_that_of_the_pairs_matters(
    pairs: list[tuple[float, float]], data: st.DataObject
) -> None:
    flip = data.draw(st.lists(st.booleans(), min_size=len(pairs), max_size=len(pairs)))
    other = [(1 - p, 1 - y) if f else (p, y) for (p, y), f in zip(pairs, flip, strict=True)][::-1]
    columns = [list(zip(*rows, strict=True)) for rows in (pairs, other)]
    one, two = (calibration_error(p, y, range(len(p))) for p, y in columns)
    assert two.ece.value == pytest.approx(one.ece.value, abs=1e-9)
    assert two.brier.value == pytest.approx(one.brier.value, abs=1e-12)


def test_a_constant_half_is_calibrated_and_certainty_that_errs_is_not() -> None:
    y = np.array([1.0, 0.0] * 50)
    assert calibration_error(np.full(100, 0.5), y, range(100)).ece.value == 0.0
    found = calibration_error(np.ones(100), y, range(100)).ece
    assert found.value == 0.5
    assert found.low > 0.3


@pytest.mark.parametrize(("temperature", "true"), [(1.0, 0.0), (1.3, 0.0399), (2.0, 0.1016)])
def test_interval_covers_the_true_error(
    temperature: float, true: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nominal 95 %, the truth from 2,000,000 pairs; 120 sets leave a standard error of 2 points.

    The percentile interval, for comparison, covers 0 % at temperature 1.
    """
    monkeypatch.setattr(resample, "NUM_RESAMPLES", 400)
    found = [calibration_error(*_draw(400, temperature, k), range(400)).ece for k in range(120)]
    covered = np.mean([i.low <= true + 1e-3 and true - 1e-3 <= i.high for i in found])
    assert covered >= 0.88
    assert np.mean([i.high - i.low for i in found]) < 0.1


def test_interval_counts_prompts_and_not_items() -> None:
    p, y = _draw(200, 1.5)
    once = calibration_error(p, y, range(200)).ece
    copies = calibration_error(np.repeat(p, 5), np.repeat(y, 5), np.repeat(np.arange(200), 5)).ece
    assert (copies.low, copies.high) == pytest.approx((once.low, once.high), abs=0.01)


def test_rows_count_prompts_and_not_items() -> None:
    p, y = _draw(200, 1.5)
    once = calibration_error(p, y, range(200)).bins
    copies = calibration_error(np.repeat(p, 5), np.repeat(y, 5), np.repeat(np.arange(200), 5)).bins
    for one, five in zip(once, copies, strict=True):
        assert five.accuracy.high - five.accuracy.low == pytest.approx(
            one.accuracy.high - one.accuracy.low, rel=0.15
        )


def test_what_is_no_probability_is_refused() -> None:
    with pytest.raises(InvalidInput, match="probabilities"):
        calibration_error([1.2], [1.0], ["a"])
    with pytest.raises(InvalidInput, match="labels"):
        calibration_error([0.2], [1.0, 0.0], ["a"])
