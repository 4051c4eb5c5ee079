"""Accuracy, baselines and length correlation against scipy and hand-made pairs."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from guerdon_service.core.conversation import Message
from guerdon_service.core.statistics.interval import Interval
from guerdon_training.data import PreferencePair
from guerdon_training.evaluate import Judged, measure


def _pair(prompt: str, chosen: str, rejected: str) -> PreferencePair:
    return PreferencePair("id", (Message("user", prompt),), chosen, rejected, "s", "")


def test_figures_of_hand_made_pairs() -> None:
    judged = [
        Judged(_pair("one", "aaa", "b"), (1.0, 0.0)),
        Judged(_pair("One!", "aaa", "b"), (1.0, 1.0)),
        Judged(_pair("two", "a", "bb"), (0.0, 1.0)),
        Judged(_pair("three", "aa", "b"), None),
    ]
    got = measure(judged)
    assert (got.num_pairs, got.num_prompts, got.num_refused) == (4, 3, 1)
    assert got.accuracy.value == got.clustered.value == (1 + 0.5 + 0 + 0.5) / 4
    assert (got.longer.value, got.shorter.value) == (0.75, 0.25)
    assert got.over_baseline.value == pytest.approx(0.5 - 0.75)


def test_a_model_that_prefers_length_is_its_baseline() -> None:
    generator = np.random.default_rng(0)
    texts = ["x" * n for n in generator.integers(1, 50, 400)]
    pairs = [
        _pair(str(i), a, b) for i, (a, b) in enumerate(zip(texts[::2], texts[1::2], strict=True)) if a != b
    ]
    got = measure([Judged(p, (float(len(p.chosen)), float(len(p.rejected)))) for p in pairs])
    assert got.accuracy == got.longer
    assert got.length_correlation == pytest.approx(1.0)
    better = max(got.longer.value, got.shorter.value)
    assert got.over_baseline.value == pytest.approx(got.longer.value - better)


def test_a_clear_signal_beats_the_baseline_and_noise_does_not() -> None:
    generator = np.random.default_rng(1)
    pairs = [
        _pair(str(i), "x" * generator.integers(1, 40), "y" * generator.integers(1, 40)) for i in range(600)
    ]
    right = generator.random(600) < 0.7
    signal = measure([Judged(p, (1.0, 0.0) if r else (0.0, 1.0)) for p, r in zip(pairs, right, strict=True)])
    assert signal.over_baseline.low > 0.05
    coin = measure([Judged(p, (float(s), 0.5)) for p, s in zip(pairs, generator.random(600), strict=True)])
    assert coin.over_baseline.low < 0


def test_the_interval_over_prompts_is_that_of_a_rate() -> None:
    """A model that is right on 20 pairs of 20 prompts may be wrong on others; a bootstrap saw no error."""
    judged = [Judged(_pair(str(i), "a", "b"), (1.0, 0.0)) for i in range(20)]
    got = measure(judged)
    assert got.clustered.low < 0.9 and got.clustered.high == 1.0
    pairs = [Judged(_pair("one", "aa", "b"), (0.0, 1.0)) for _ in range(9)]
    assert measure(pairs).over_baseline == Interval(-1.0, -1.0, 1.0), "one prompt shows nothing of others"


def test_length_correlation_is_spearmans_over_both_directions() -> None:
    generator = np.random.default_rng(2)
    judged = [
        Judged(_pair(str(i), "x" * generator.integers(1, 9), "y" * generator.integers(1, 9)), (s, 0.0))
        for i, s in enumerate(generator.normal(size=80).round(1).tolist())
    ]
    margins = np.array([j.scores[0] - j.scores[1] for j in judged if j.scores])
    lengths = np.array([len(j.pair.chosen) - len(j.pair.rejected) for j in judged], dtype=float)
    expected = spearmanr(np.concatenate([margins, -margins]), np.concatenate([lengths, -lengths])).statistic
    assert measure(judged).length_correlation == pytest.approx(expected, abs=1e-12)
