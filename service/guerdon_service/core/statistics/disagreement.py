"""How much a label would tell about the members of an ensemble.

Houlsby et al., "Bayesian Active Learning for Classification and Preference Learning" (arXiv 1112.5745): BALD.
"""

from functools import cache

import numpy as np

from guerdon_service.core.statistics.arrays import Floats

_NUM_NODES = 64


def information_nats(margins: Floats, stds: Floats) -> Floats:
    """Mutual information of a preference label and the member that predicts it, in nats: 0 to log 2.

    ``H(E p) - E H(p)`` with ``p = sigmoid(m)`` and m normal, as the members' margins are taken to be: high
    where each is sure and they contradict each other, low where all are sure of the same and where all think
    it a toss-up. By Gauss-Hermite quadrature: within 2e-4 of the integral for stds up to 5.

    Args:
        margins: mean of m, in logits. float64 [pairs].
        stds: its standard deviation, at least 0. float64 [pairs].

    Returns:
        float64 [pairs].
    """
    nodes, weights = _quadrature()
    p = _sigmoid(margins[:, None] + stds[:, None] * nodes)
    told = _entropy(p @ weights) - _entropy(p) @ weights
    return np.where(stds > 0, np.maximum(told, 0.0), 0.0)  # without a spread, rounding would order pairs


@cache
def _quadrature() -> tuple[Floats, Floats]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NUM_NODES)
    return nodes, weights / weights.sum()


def _sigmoid(x: Floats) -> Floats:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _entropy(p: Floats) -> Floats:
    """Of a coin, in nats."""
    q = 1.0 - p
    tiny = np.finfo(np.float64).tiny
    return -(p * np.log(np.maximum(p, tiny)) + q * np.log(np.maximum(q, tiny)))
