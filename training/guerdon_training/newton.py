"""Logistic regression on differences: a Bradley-Terry model that is linear in given features."""

import numpy as np
from numpy.typing import NDArray

from guerdon_service.core.errors import GuerdonError

MAX_STEPS = 100
TOLERANCE = 1e-8


def fit_differences(differences: NDArray[np.float64], l2: float) -> NDArray[np.float64]:
    """Weights w that minimise ``mean(log(1 + exp(-x w))) + l2 / 2 |w|^2``: float64 [D].

    The function is strictly convex: Newton's steps, halved while they do not descend, end at its one minimum.

    Args:
        differences: float64 [P, D], features of the chosen response less those of the rejected.
        l2: above 0.

    Raises:
        GuerdonError: no convergence, as with features that are not finite.
    """
    num_pairs, num_features = differences.shape
    weights = np.zeros(num_features)
    for _ in range(MAX_STEPS):
        wrong = np.exp(-np.logaddexp(0.0, differences @ weights))
        gradient = l2 * weights - differences.T @ wrong / num_pairs
        if np.abs(gradient).max() < TOLERANCE:
            return weights
        curvature = (differences * (wrong * (1.0 - wrong))[:, None]).T @ differences / num_pairs
        step = np.linalg.solve(curvature + l2 * np.eye(num_features), gradient)
        size = 1.0
        while _loss(differences, weights - size * step, l2) > _loss(differences, weights, l2) and size > 1e-6:
            size /= 2.0
        weights = weights - size * step
    raise GuerdonError("the head's fit did not converge; check that the features are finite", param="l2")


def _loss(differences: NDArray[np.float64], weights: NDArray[np.float64], l2: float) -> float:
    likelihood = np.logaddexp(0.0, -differences @ weights).mean()
    return float(likelihood + l2 / 2.0 * weights @ weights)
