"""Mutual information of a label and the member that predicts it, against the integral."""

from math import inf, log

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import entr, expit
from scipy.stats import norm

from guerdon_service.core.statistics.disagreement import information_nats


def integral(margin: float, std: float) -> float:
    def mean(value: object) -> float:
        return float(
            quad(lambda z: value(expit(margin + std * z)) * norm.pdf(z), -inf, inf, limit=400, epsabs=1e-9)[0]  # type: ignore[operator]
        )

    def entropy(p: float) -> float:
        return float(entr(p) + entr(1 - p))

    return entropy(mean(lambda p: p)) - mean(entropy)


@pytest.mark.parametrize("margin", [0.0, 0.3, 2.0, 6.0])
@pytest.mark.parametrize("std", [0.05, 0.5, 2.0, 5.0])
def test_it_is_the_integral(margin: float, std: float) -> None:
    found = information_nats(np.array([margin]), np.array([std]))
    assert found[0] == pytest.approx(integral(margin, std), abs=2e-4)


def test_it_is_symmetric_and_between_nothing_and_one_bit() -> None:
    margins = np.array([0.0, 1.0, 1e6, 0.0, 3.0])
    stds = np.array([0.0, 0.0, 1.0, 1e6, 2.0])
    found = information_nats(margins, stds)
    assert np.array_equal(found[:2], [0.0, 0.0])
    assert np.all((found >= 0) & (found <= log(2) + 1e-12))
    assert found[2] == pytest.approx(0.0, abs=1e-12) and found[3] == pytest.approx(log(2), abs=1e-3)
    assert information_nats(-margins, stds) == pytest.approx(found, abs=1e-12)


def test_it_grows_with_the_spread_and_falls_with_the_margin() -> None:
    spreads = information_nats(np.full(6, 0.5), np.linspace(0, 3, 6))
    assert np.all(np.diff(spreads) > 0)
    margins = information_nats(np.linspace(0, 4, 6), np.full(6, 1.0))
    assert np.all(np.diff(margins) < 0)
