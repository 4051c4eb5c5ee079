"""Logistic regression with the covariance of its coefficients."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.statistics.arrays import Clusters, Floats, cluster_codes, cluster_sums, shares

MAX_ITERATIONS = 100
TOLERANCE = 1e-10
"""Newton stops when no coefficient would move by more."""
_SEPARATED = 30.0
"""Logits beyond it are probabilities of 0 or 1 for every purpose: a fit that goes there has no maximum."""


@dataclass(frozen=True, slots=True)
class LogisticFit:
    """Coefficients [K], and their covariance [K, K]: the sandwich where clusters were given."""

    coefficients: Floats
    covariance: Floats


def fit_logistic(
    features: ArrayLike, targets: ArrayLike, *, l2: ArrayLike = 0.0, clusters: Clusters | None = None
) -> LogisticFit:
    """Maximum likelihood by iteratively reweighted least squares (Newton's method), no intercept added.

    Maximises ``sum(t log p + (1 - t) log(1 - p)) - sum(l2 * coefficients ** 2) / 2``.

    Args:
        features: float64 [N, K].
        targets: float64 [N] in [0, 1]; shares and ties are allowed.
        l2: penalty, >= 0, one for all coefficients or one each.
        clusters: N keys; the covariance is then robust to dependence within clusters (Liang and Zeger, 1986),
            times G / (G - 1).

    Raises:
        InvalidInput: shapes differ, features are linearly dependent, or they separate the targets, so that no
            maximum exists.
    """
    x = _matrix(features)
    t = shares(targets, "targets", size=len(x))
    penalty = np.broadcast_to(np.asarray(l2, dtype=np.float64), x.shape[1])
    beta = np.zeros(x.shape[1])
    for _ in range(MAX_ITERATIONS):
        p = logistic(x @ beta)
        step = _solve(_information(x, p, penalty), x.T @ (t - p) - penalty * beta)
        beta = _ascend(x, t, penalty, beta, step)
        if np.abs(step).max() < TOLERANCE:
            return LogisticFit(beta, _covariance(x, t, penalty, beta, clusters))
    raise InvalidInput(_SEPARATION, param="features")


_SEPARATION = (
    "the features tell the targets apart without error, so no fit exists; give a penalty, or more data"
)


def logistic(logits: Floats) -> Floats:
    """1 / (1 + exp(-logits)), without overflow."""
    return np.exp(-np.logaddexp(0.0, -logits))


def _log_likelihood(x: Floats, t: Floats, penalty: Floats, beta: Floats) -> float:
    logits = x @ beta
    return float((t * logits - np.logaddexp(0.0, logits)).sum() - (penalty * beta**2).sum() / 2.0)


def _ascend(x: Floats, t: Floats, penalty: Floats, beta: Floats, step: Floats) -> Floats:
    """The full step, halved until the likelihood does not fall by more than rounding."""
    start = _log_likelihood(x, t, penalty, beta)
    slack = 1e-12 * (1.0 + abs(start))
    for _ in range(30):
        if _log_likelihood(x, t, penalty, beta + step) >= start - slack:
            break
        step = step / 2.0
    moved: Floats = beta + step
    if np.abs(x @ moved).min() > _SEPARATED:
        raise InvalidInput(_SEPARATION, param="features")
    return moved


def _information(x: Floats, p: Floats, penalty: Floats) -> Floats:
    return np.asarray((x * (p * (1.0 - p))[:, None]).T @ x + np.diag(penalty))


def _covariance(x: Floats, t: Floats, penalty: Floats, beta: Floats, clusters: Clusters | None) -> Floats:
    p = logistic(x @ beta)
    information = _information(x, p, penalty)
    bread = _solve(information, np.eye(len(beta)))
    if clusters is None:
        return bread
    codes = cluster_codes(clusters, len(x))
    scores = np.column_stack([cluster_sums(codes, column * (t - p)) for column in x.T])
    num = len(scores)
    return np.asarray(num / max(num - 1, 1) * bread @ (scores.T @ scores) @ bread)


def _solve(information: Floats, right: Floats) -> Floats:
    try:
        if np.linalg.cond(information) < 1e13:
            return np.asarray(np.linalg.solve(information, right))
    except np.linalg.LinAlgError:
        pass
    raise InvalidInput(
        "features are linearly dependent, or separate the targets; drop one, or give a penalty",
        param="features",
    )


def _matrix(features: ArrayLike) -> NDArray[np.float64]:
    x = np.asarray(features, dtype=np.float64)
    if x.ndim != 2 or x.size == 0 or not np.isfinite(x).all():
        raise InvalidInput("features must be a table [N, K] of finite numbers", param="features")
    return x
