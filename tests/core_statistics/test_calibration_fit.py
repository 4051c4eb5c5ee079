"""Slope and its standard error against an independent fit and simulation; normalisation."""

from importlib import import_module
from math import log
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.statistics.calibration_fit import calibrated_log_loss, fit_norm, fit_slope

statsmodels: Any = import_module("statsmodels.api")


def _margins(slope: float, n: int, seed: int) -> np.ndarray:
    """Margins whose sign is right with probability sigmoid(slope * |margin|)."""
    generator = np.random.default_rng(seed)
    margins = np.abs(generator.normal(0.0, 1.0, n))
    right = generator.random(n) < 1 / (1 + np.exp(-slope * margins))
    return np.where(right, margins, -margins)


def test_slope_is_the_maximum_of_the_likelihood() -> None:
    margins = _margins(1.7, 500, 0)
    best = minimize_scalar(lambda s: np.logaddexp(0, -s * margins).sum(), bounds=(0, 10), method="bounded")
    got = fit_slope(margins, list(range(500)))
    assert got.slope == pytest.approx(best.x, abs=1e-4)
    assert got.num_pairs == 500
    assert calibrated_log_loss(margins) == pytest.approx(best.fun / 500, abs=1e-8)


def test_standard_error_is_the_spread_over_repeated_samples() -> None:
    fits = [fit_slope(_margins(1.0, 400, seed), list(range(400))) for seed in range(150)]
    spread = np.std([f.slope for f in fits])
    assert np.mean([f.slope_se for f in fits]) == pytest.approx(spread, rel=0.15)


def test_standard_error_counts_prompts_not_copies() -> None:
    margins = _margins(1.0, 300, 1)
    once = fit_slope(margins, list(range(300)))
    copied = fit_slope(np.repeat(margins, 4), list(np.repeat(np.arange(300), 4)))
    assert copied.slope == pytest.approx(once.slope, rel=1e-9)
    assert copied.slope_se == pytest.approx(once.slope_se, rel=1e-6)


@pytest.mark.parametrize("margins", [[-1.0, -2.0, 0.5], [1.0, 2.0, 3.0]])
def test_chance_and_perfect_orders_have_no_slope(margins: list[float]) -> None:
    with pytest.raises(InvalidInput, match=r"better than chance.*in data\.valid, or") as refused:
        fit_slope(np.array(margins), ["a", "b", "c"], param="data.valid")
    assert refused.value.param == "data.valid"


def test_margins_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(InvalidInput, match="data holds NaN or infinity"):
        fit_slope(np.array([1.0, -1.0, np.nan]), range(3))


def test_votes_and_ties_pull_the_slope_as_the_likelihood_says() -> None:
    margins = _margins(1.0, 400, 2)
    shares = np.random.default_rng(2).choice([0.5, 0.8, 1.0], 400)
    clusters = np.arange(400) // 2
    got = fit_slope(margins, clusters, shares)
    oracle = statsmodels.GLM(shares, margins[:, None], family=statsmodels.families.Binomial())
    found = oracle.fit(cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": False}, tol=1e-12)
    assert got.slope == pytest.approx(found.params[0], rel=1e-7)
    assert got.slope_se == pytest.approx(found.bse[0], rel=1e-6)


def test_the_log_loss_of_shares_is_the_mean_over_the_votes() -> None:
    margins = _margins(1.0, 100, 3)
    votes = np.random.default_rng(3).random((100, 4)) < 0.8
    each = [(m, v) for m, row in zip(margins, votes, strict=True) for v in row]
    signed = np.array([m if v else -m for m, v in each])
    found = calibrated_log_loss(margins, votes.mean(axis=1))
    assert found == pytest.approx(calibrated_log_loss(signed), abs=1e-12)


def test_a_slope_without_contradiction_is_refused_though_labels_go_both_ways() -> None:
    """Negative margins whose second response was chosen are no errors."""
    with pytest.raises(InvalidInput, match=r"1e\+04; held-out pairs"):
        fit_slope(np.array([1.0, -2.0, 0.0]), ["a", "b", "c"], [1.0, 0.0, 0.5])


def test_log_loss_of_a_wrong_order_is_that_of_a_coin() -> None:
    assert calibrated_log_loss(np.array([-1.0, -2.0, 0.5])) == log(2)


def test_norm_gives_mean_zero_and_standard_deviation_one() -> None:
    raw = np.random.default_rng(4).normal(3.0, 0.2, 1000)
    norm = fit_norm(raw)
    normalised = (raw - norm.mean) / norm.std
    assert normalised.mean() == pytest.approx(0, abs=1e-9)
    assert normalised.std() == pytest.approx(1, abs=1e-9)
