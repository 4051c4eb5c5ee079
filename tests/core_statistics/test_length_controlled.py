"""Win rate at equal length."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from guerdon_service.core.statistics.length_controlled import RIDGE, length_controlled_win_rate

Floats = NDArray[np.float64]


def _draw(num: int, strength: float, effect: float, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    """Preferences, differences in length (the candidate is wordy), difficulties."""
    generator = np.random.default_rng(seed)
    lengths, difficulties = generator.normal(80, 100, num), generator.normal(0, 1, num)
    logits = strength + effect * np.tanh(lengths / lengths.std()) + 0.7 * difficulties
    return (generator.random(num) < 1 / (1 + np.exp(-logits))).astype(np.float64), lengths, difficulties


def test_fit_equals_scikit_learns() -> None:
    wins, lengths, difficulties = _draw(600, 0.2, 1.0)
    features = np.column_stack([np.tanh(lengths / lengths.std()), difficulties])
    reference = LogisticRegression(C=1 / RIDGE, tol=1e-12, solver="newton-cholesky").fit(features, wins)
    features[:, 0] = 0.0
    found = length_controlled_win_rate(wins, lengths, range(600), difficulties)
    assert found.win_rate.value == pytest.approx(reference.predict_proba(features)[:, 1].mean(), abs=1e-8)
    assert found.length_effect == pytest.approx(reference.coef_[0, 0], abs=1e-8)
    assert found.raw.value == wins.mean()


def test_a_wordy_equal_falls_back_to_one_half() -> None:
    wins, lengths, _ = _draw(20_000, 0.0, 1.2)
    found = length_controlled_win_rate(wins, lengths, range(20_000))
    assert found.raw.low > 0.6
    assert found.win_rate.value == pytest.approx(0.5, abs=0.015)
    assert found.length_effect > 0.9


def test_interval_covers_the_rate_at_equal_length() -> None:
    """Nominal 95 %; 150 sets leave a standard error of 1.8 points."""
    covered = 0
    true = float((1 / (1 + np.exp(-0.3 - 0.7 * np.random.default_rng(9).normal(size=400_000)))).mean())
    for seed in range(150):
        wins, lengths, difficulties = _draw(500, 0.3, 0.8, seed)
        found = length_controlled_win_rate(wins, lengths, range(500), difficulties).win_rate
        covered += found.low <= true <= found.high
    assert 0.89 <= covered / 150 <= 0.99


def test_interval_covers_the_rate_where_few_prompts_have_most_answers() -> None:
    """300 sets leave an error of 1.3 points; the normal quantile covers 85 %."""
    generator = np.random.default_rng(5)
    covered = 0
    for _ in range(300):
        sizes = np.minimum(50, np.ceil(generator.pareto(1.2, 20) + 1e-9)).astype(np.int64)
        clusters = np.repeat(np.arange(20), sizes)
        rates = generator.beta(2.4, 1.6, 20)[clusters]
        wins = (generator.random(len(clusters)) < rates).astype(np.float64)
        lengths = generator.normal(size=len(clusters))
        found = length_controlled_win_rate(wins, lengths, clusters).win_rate
        covered += found.low <= 0.6 <= found.high
    assert 0.9 <= covered / 300 <= 0.99


def test_swapping_the_sides_mirrors_the_rate() -> None:
    wins, lengths, _ = _draw(300, 0.4, 1.0)
    one = length_controlled_win_rate(wins, lengths, range(300)).win_rate
    other = length_controlled_win_rate(1 - wins, -lengths, range(300)).win_rate
    assert (other.value, other.low, other.high) == pytest.approx((1 - one.value, 1 - one.high, 1 - one.low))


def test_equal_lengths_leave_the_raw_rate() -> None:
    wins, _, _ = _draw(300, 0.4, 0.0)
    found = length_controlled_win_rate(wins, np.zeros(300), range(300))
    assert found.win_rate.value == pytest.approx(found.raw.value, abs=1e-9)
    assert found.length_effect == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("won", [0.0, 1.0])
def test_all_won_or_lost_gives_the_raw_rate(won: float) -> None:
    found = length_controlled_win_rate(np.full(50, won), np.arange(50), range(50))
    assert found.win_rate == found.raw
    assert found.win_rate.value == won


def test_every_longer_answer_winning_is_finite() -> None:
    lengths = np.array([-3.0, -2, -1, 1, 2, 3] * 5)
    found = length_controlled_win_rate((lengths > 0).astype(np.float64), lengths, range(30))
    assert found.win_rate.value == pytest.approx(0.5, abs=1e-9)
