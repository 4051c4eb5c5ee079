"""Accuracy without length."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.statistics.length_match import length_matched_accuracy, longer_wins, shorter_wins

differences = st.lists(st.integers(-30, 30), min_size=2, max_size=80)


def test_baselines_of_length() -> None:
    assert longer_wins([5, -5, 0]).tolist() == [1.0, 0.0, 0.5]
    assert shorter_wins([5, -5, 0]).tolist() == [0.0, 1.0, 0.5]


@settings(max_examples=60, deadline=None)
@given(differences, st.sampled_from([-1, 1]))
def test_a_score_that_follows_length_alone_gets_one_half(lengths: list[int], sign: int) -> None:
    chosen_longer = np.array(lengths)
    found = length_matched_accuracy((np.sign(sign * chosen_longer) + 1) / 2, lengths, range(len(lengths)))
    assert found is None or found.value == pytest.approx(0.5)


def test_accuracy_of_a_biased_set_is_put_right() -> None:
    """Chosen longer in 80 %; the score is right in 90 % of those and in 50 % of the others: matched 70 %."""
    generator = np.random.default_rng(0)
    longer = generator.random(20_000) < 0.8
    correct = (generator.random(20_000) < np.where(longer, 0.9, 0.5)).astype(np.float64)
    sizes = generator.integers(1, 200, 20_000)
    found = length_matched_accuracy(correct, np.where(longer, sizes, -sizes), range(20_000))
    assert found is not None
    assert correct.mean() == pytest.approx(0.82, abs=0.01)
    assert found.value == pytest.approx(0.7, abs=0.01)
    assert found.low < 0.7 < found.high


def test_balanced_strata_change_nothing() -> None:
    correct = np.random.default_rng(1).random(400).round()
    lengths = np.repeat(np.arange(1, 201), 2) * np.tile([1, -1], 200)
    found = length_matched_accuracy(correct, lengths, range(400))
    assert found is not None
    assert found.value == pytest.approx(correct.mean())


def test_nothing_matches_when_one_direction_is_missing() -> None:
    assert length_matched_accuracy([1.0, 0.0], [3, 4], range(2)) is None
    equal = length_matched_accuracy([1.0, 0.0, 1.0], [0, 0, 7], np.arange(3))
    assert equal is not None
    assert equal.value == 0.5


def test_lengths_of_other_items_are_refused() -> None:
    with pytest.raises(InvalidInput, match="length_differences"):
        length_matched_accuracy([1.0], [1, 2], ["a"])
