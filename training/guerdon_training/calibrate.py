"""What turns raw scores into comparable rewards and probabilities, fitted on held-out pairs."""

from collections.abc import Hashable, Sequence
from math import log

import numpy as np
from numpy.typing import NDArray

from guerdon_service.core.calibration import Calibration
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Norm

Floats = NDArray[np.float64]

MAX_SLOPE = 1e4
"""Beyond it the pairs are separable for every practical purpose and the likelihood has no maximum."""


def fit_norm(raw: Floats) -> Norm:
    """Mean and standard deviation of one head over held-out responses: ``(raw - mean) / std``.

    Args:
        raw: float64 [N], N >= 2, not all equal.
    """
    return Norm(float(raw.mean()), float(raw.std()))


def fit_slope(margins: Floats, clusters: Sequence[Hashable]) -> Calibration:
    """Slope of ``P(chosen) = sigmoid(slope * margin)`` by maximum likelihood, without intercept.

    The standard error is the cluster-robust sandwich (Liang and Zeger, 1986): pairs of one prompt are not
    independent.

    Args:
        margins: float64 [N], reward of the chosen less reward of the rejected.
        clusters: N prompt keys.

    Raises:
        InvalidInput: the margins order the pairs no better than chance, or without a single error.
    """
    slope = _best_slope(margins)
    if not 0.0 < slope < MAX_SLOPE:
        raise InvalidInput(
            f"the calibration slope is {slope:.3g}; the valid pairs must be ordered better than chance and "
            "hold some errors: give more of them, or train longer",
            param="data.valid",
        )
    wrong = _wrong(slope, margins)
    information = float((margins**2 * wrong * (1.0 - wrong)).sum())
    number = {key: i for i, key in enumerate(dict.fromkeys(clusters))}
    scores = np.bincount([number[key] for key in clusters], weights=margins * wrong)
    return Calibration(slope, float(np.sqrt((scores**2).sum()) / information), len(margins))


def calibrated_log_loss(margins: Floats) -> float:
    """Mean negative log likelihood at the best slope >= 0, in nats: log 2 for what orders by chance.

    Args:
        margins: float64 [N], finite.
    """
    slope = _best_slope(margins)
    return log(2.0) if slope == 0.0 else float(np.logaddexp(0.0, -slope * margins).mean())


def _best_slope(margins: Floats) -> float:
    """Maximiser of a concave likelihood over [0, MAX_SLOPE], by bisection of its derivative."""
    if margins.sum() <= 0.0:  # the derivative at 0 is half of it
        return 0.0
    if margins.min() >= 0.0:
        return MAX_SLOPE
    low, high = 0.0, MAX_SLOPE
    for _ in range(200):
        middle = (low + high) / 2.0
        if float((margins * _wrong(middle, margins)).sum()) > 0.0:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def _wrong(slope: float, margins: Floats) -> Floats:
    """Probability that the model gives to the rejected response."""
    shares: Floats = np.exp(-np.logaddexp(0.0, slope * margins))
    return shares
