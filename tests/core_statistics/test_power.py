"""Power of a paired comparison, against published figures and simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.statistics.paired_mean import paired_mean
from guerdon_service.core.statistics.power import minimum_detectable_effect, paired_power, pairs_needed


@pytest.mark.parametrize(
    ("discordance", "effect", "items"),
    [
        (0.2, 0.01, 15_690),
        (0.2, 0.02, 3_917),
        (0.2, 0.03, 1_736),
        (0.2, 0.05, 620),
        (0.1, 0.01, 7_841),
        (0.1, 0.02, 1_954),
        (0.1, 0.03, 864),
        (0.1, 0.05, 306),
    ],
)
def test_the_design_table(discordance: float, effect: float, items: int) -> None:
    assert pairs_needed(discordance, effect) == items
    assert minimum_detectable_effect(discordance, items) == pytest.approx(effect, rel=2e-3)


@given(st.floats(0.02, 1), st.integers(50, 100_000), st.floats(0.5, 0.99), st.floats(0.001, 0.2))
def test_the_three_functions_invert_each_other(d: float, n: int, power: float, alpha: float) -> None:
    effect = minimum_detectable_effect(d, n, power, alpha)
    assert 0 < effect < 1
    if effect < 0.99 * d:
        assert paired_power(d, effect, n, alpha) == pytest.approx(power, abs=1e-9)
        assert pairs_needed(d, effect, power, alpha) == pytest.approx(n, abs=1)


@given(st.floats(0.05, 0.9), st.integers(50, 10_000))
def test_more_items_and_less_discordance_detect_less(d: float, n: int) -> None:
    assert minimum_detectable_effect(d, n + 10) < minimum_detectable_effect(d, n)
    assert minimum_detectable_effect(d * 0.9, n) <= minimum_detectable_effect(d, n)


@pytest.mark.parametrize("discordance", [0.0, 0.02, 0.05])
def test_a_difference_that_can_be_shown_takes_items_that_differ(discordance: float) -> None:
    """Of 100 items some 7 must: all of them wins, they are found in 86 % of samples, and 5 in 57 %."""
    effect = minimum_detectable_effect(discordance, 100)
    assert effect == minimum_detectable_effect(effect, 100) > discordance
    draws = np.random.default_rng(1).random((2000, 100)) < effect
    found = np.mean([paired_mean(row.astype(np.float64), np.arange(100)).tail(0.0) < 0.025 for row in draws])
    assert 0.8 <= found <= 0.9


def test_power_equals_simulation_of_the_differences() -> None:
    generator = np.random.default_rng(0)
    draws = generator.multinomial(620, [0.125, 0.075, 0.8], 20_000)
    mean = (draws[:, 0] - draws[:, 1]) / 620
    variance = (draws[:, 0] + draws[:, 1]) / 620 - mean**2
    found = (mean / np.sqrt(variance / 620) > 1.96).mean()
    assert found == pytest.approx(paired_power(0.2, 0.05, 620), abs=0.01)


@pytest.mark.parametrize("effect", [0.0, 0.3])
def test_impossible_effects_are_refused(effect: float) -> None:
    with pytest.raises(InvalidInput, match="effect"):
        pairs_needed(0.2, effect)


def test_arguments_out_of_range_are_refused() -> None:
    with pytest.raises(InvalidInput, match="discordance"):
        minimum_detectable_effect(1.5, 100)
    with pytest.raises(InvalidInput, match="power"):
        minimum_detectable_effect(0.5, 100, power=1.0)
    with pytest.raises(InvalidInput, match="n of 0"):
        minimum_detectable_effect(0.5, 0)
