"""How well the surface alone predicts the label: the baseline that a reward model must beat."""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

NUM_FOLDS = 5
NUM_STEPS = 25
RIDGE = 1.0
"""Weight of the squared norm: one pseudo-observation per standardised feature keeps separable data finite."""


def cross_validated_margin(gaps: NDArray[np.float64], clusters: Sequence[Hashable]) -> NDArray[np.float64]:
    """Margin of chosen over rejected by a logistic model that never saw the pair's prompt.

    Bradley-Terry on surface features: no intercept, so the order in a pair cannot matter. Prompts are dealt
    to five folds in the order in which they first occur.

    Args:
        gaps: float64 [pairs, features], the feature of chosen less that of rejected.
        clusters: the prompt of each pair.

    Returns:
        float64 [pairs]; positive where the model picks the chosen response.
    """
    index = {key: i for i, key in enumerate(dict.fromkeys(clusters))}
    fold = np.array([index[key] for key in clusters]) % NUM_FOLDS
    out = np.zeros(len(gaps))
    for held_out in range(NUM_FOLDS):
        train = gaps[fold != held_out]
        scale = np.sqrt(np.square(train).mean(axis=0)) if len(train) else np.ones(gaps.shape[1])
        scale = np.where(scale > 0, scale, 1.0)
        weights = fit_logistic(train / scale)
        out[fold == held_out] = gaps[fold == held_out] / scale @ weights
    return out


def fit_logistic(gaps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights [features] that minimise ``sum softplus(-gaps @ w) + RIDGE / 2 |w|^2``, by Newton's method."""
    weights = np.zeros(gaps.shape[1])
    for _ in range(NUM_STEPS):
        wrong = 1 / (1 + np.exp(np.clip(gaps @ weights, -500, 500)))
        gradient = RIDGE * weights - gaps.T @ wrong
        curvature = (gaps * (wrong * (1 - wrong))[:, None]).T @ gaps + RIDGE * np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient)
        weights -= step
        if np.abs(step).max(initial=0.0) < 1e-9:
            break
    return weights
