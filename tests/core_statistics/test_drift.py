"""PSI and Kolmogorov-Smirnov against scipy and their own definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.statistics.drift import kolmogorov_smirnov, population_stability_index

samples = st.lists(st.integers(-8, 8), min_size=1, max_size=50)


@pytest.mark.filterwarnings("ignore:divide by zero")  # of the reference
@settings(max_examples=100, deadline=None)
@given(samples, samples)
def test_statistic_equals_scipy_and_p_is_the_limit(first: list[int], second: list[int]) -> None:
    found = kolmogorov_smirnov(first, second)
    assert found.statistic == pytest.approx(
        stats.ks_2samp(first, second, method="asymp").statistic, abs=1e-12
    )
    size = len(first) * len(second) / (len(first) + len(second))
    assert found.p_value == pytest.approx(special.kolmogorov(np.sqrt(size) * found.statistic), abs=1e-10)
    assert kolmogorov_smirnov(second, first) == found


def test_p_values_are_uniform_without_drift_and_small_with_it() -> None:
    generator = np.random.default_rng(0)
    null = [kolmogorov_smirnov(*generator.normal(size=(2, 400))).p_value for _ in range(500)]
    assert np.mean(np.array(null) < 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 500)
    shifted = generator.normal(0.3, 1, 800)
    assert kolmogorov_smirnov(generator.normal(size=800), shifted).p_value < 1e-3


def test_stability_index_of_a_shift_equals_the_divergence_over_the_bins() -> None:
    generator = np.random.default_rng(1)
    reference, current = generator.normal(size=200_000), generator.normal(0.5, 1.2, 200_000)
    edges = stats.norm.ppf(np.linspace(0, 1, 11))
    q = np.diff(stats.norm.cdf(edges, 0.5, 1.2))
    expected = float(((q - 0.1) * np.log(q / 0.1)).sum())
    assert population_stability_index(reference, current) == pytest.approx(expected, rel=0.03)


def test_stability_index_without_drift_is_as_small_as_it_says() -> None:
    generator = np.random.default_rng(2)
    found = [population_stability_index(*generator.normal(size=(2, 500))) for _ in range(200)]
    assert np.mean(found) == pytest.approx(9 * (1 / 500 + 1 / 500), rel=0.15)


@settings(max_examples=60, deadline=None)
@given(samples, samples)
def test_stability_index_is_finite_never_negative_and_zero_for_the_same(a: list[int], b: list[int]) -> None:
    assert 0.0 <= population_stability_index(a, b) < 50.0
    assert population_stability_index(a, a) == 0.0


def test_stability_index_sees_a_frequent_value_grow_rare() -> None:
    """Nearly all texts are cut at 512 tokens, then half of them are."""
    cut, short = np.full(950, 512.0), np.arange(50.0)
    now = np.concatenate([cut[:500], np.arange(500.0)])
    assert population_stability_index(np.concatenate([cut, short]), now) > 0.25
    assert population_stability_index(np.full(1000, 7.0), np.full(1000, 6.0)) > 0.25


def test_an_empty_window_is_refused() -> None:
    for measure in (population_stability_index, kolmogorov_smirnov):
        with pytest.raises(InvalidInput, match="current"):
            measure([1.0], [])
