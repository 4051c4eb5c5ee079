"""Antisymmetry of preferences, exactly, for every finite margin."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from guerdon_service.core.calibration import Z95, Calibration, probability, sigmoid

finite = st.floats(allow_nan=False, allow_infinity=False)
stds = st.floats(0, allow_nan=False, allow_infinity=False)
calibrations = st.builds(
    Calibration,
    slope=st.floats(0, exclude_min=True, allow_nan=False, allow_infinity=False),
    slope_se=stds,
    num_pairs=st.integers(0, 10**9),
)


@given(finite)
@example(1e308)
@example(5e-324)
@example(36.7368005696771)
def test_sigmoid_of_opposites_sums_to_one_exactly(x: float) -> None:
    assert sigmoid(x) + sigmoid(-x) == 1.0


@given(st.floats(-700, 700))
def test_sigmoid_is_the_logistic_function(x: float) -> None:
    assert sigmoid(x) == pytest.approx(float(1 / (1 + np.exp(np.longdouble(-x)))), rel=1e-12, abs=1e-15)


@given(finite, stds, calibrations)
@example(1e308, 0.0, Calibration(slope=10.0, slope_se=10.0, num_pairs=9))
@example(1e308, 1e308, Calibration(slope=1e308, slope_se=0.0, num_pairs=9))
@example(-1e308, 0.0, Calibration(slope=1e308, slope_se=1e308, num_pairs=9))
def test_swapping_the_pair_mirrors_all_three_numbers(
    margin: float, margin_std: float, calibration: Calibration
) -> None:
    p, low, high = probability(margin, margin_std, calibration)
    q, swapped_low, swapped_high = probability(-margin, margin_std, calibration)
    assert p + q == 1.0
    assert low == 1.0 - swapped_high
    assert high == 1.0 - swapped_low
    assert 0.0 <= low <= p <= high <= 1.0


@given(calibrations, st.sampled_from([math.inf, -math.inf]))
def test_a_margin_that_overflowed_is_certain(calibration: Calibration, margin: float) -> None:
    """The difference of two finite rewards can be infinite; the answer is still a number."""
    p, low, high = probability(margin, 0.0, Calibration(calibration.slope, 0.0, 100))
    assert (p > 0.5) == (margin > 0)
    assert low == p == high


def test_not_a_number_is_not_hidden() -> None:
    assert all(
        math.isnan(v) for v in (sigmoid(math.nan), *probability(math.nan, 0.0, Calibration(num_pairs=9)))
    )


@given(st.floats(-20, 20), st.floats(0, 5), st.floats(0.01, 5), st.floats(0, 1))
def test_interval_is_the_delta_method(margin: float, margin_std: float, slope: float, se: float) -> None:
    """Oracle: Var(slope * margin) = margin^2 Var(slope) + slope^2 Var(margin), for independent parts."""
    _, low, high = probability(margin, margin_std, Calibration(slope, se, 100))
    half = Z95 * np.sqrt(margin**2 * se**2 + slope**2 * margin_std**2)
    expected = 1 / (1 + np.exp(-(slope * margin + np.array([-half, half]))))
    np.testing.assert_allclose([low, high], expected, rtol=1e-9, atol=1e-12)


@given(finite, stds)
def test_of_an_unfitted_slope_no_interval_is_known(margin: float, margin_std: float) -> None:
    assert probability(margin, margin_std, Calibration()) == (sigmoid(margin), 0.0, 1.0)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=2), calibrations)
def test_a_larger_margin_is_never_less_probable(margins: list[float], calibration: Calibration) -> None:
    smaller, larger = sorted(margins)
    assert probability(smaller, 0.0, calibration)[0] <= probability(larger, 0.0, calibration)[0]


@given(st.floats(-100, 100), st.floats(0, 100), calibrations)
def test_a_single_well_fitted_model_has_no_interval(
    margin: float, _: float, calibration: Calibration
) -> None:
    p, low, high = probability(margin, 0.0, Calibration(calibration.slope, 0.0, 100))
    assert low == p == high
