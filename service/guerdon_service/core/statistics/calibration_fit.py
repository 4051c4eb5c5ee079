"""What turns raw scores into comparable rewards and probabilities, fitted on held-out pairs."""

from math import log

import numpy as np
from numpy.typing import ArrayLike

from guerdon_service.core.calibration import Calibration
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Norm
from guerdon_service.core.statistics.arrays import Clusters, Floats, cluster_codes, cluster_sums, floats

MAX_SLOPE = 1e4
"""Beyond it the pairs are separable for every practical purpose and the likelihood has no maximum."""

MIN_PROMPTS = 20
"""Below it a cluster-robust standard error is too small; of one prompt alone it is 0."""
SURE_PAIRS = 100
"""With 100 independent pairs chance in the slope makes a calibration error of 0.03, below 0.08 in 19 of 20
cases; with 50 it can use up the 0.1 that the gate allows. Simulated for accuracies of 0.6 to 0.8."""


def check_prompts(num_pairs: int, num_prompts: int, what: str, *, param: str = "data") -> None:
    """Refuse pairs that a slope cannot honestly be fitted on; training and ``guerdon calibrate`` both ask.

    Args:
        what: whose the pairs are, as the message begins. param: what the error names.

    Raises:
        InvalidInput: there are fewer than `MIN_PROMPTS` prompts.
    """
    if num_prompts < MIN_PROMPTS:
        raise InvalidInput(
            f"{what} has {num_pairs} usable pairs of {num_prompts} prompts, too few to calibrate on; give "
            f"pairs of at least {MIN_PROMPTS} prompts, and {SURE_PAIRS} pairs for a slope that is sure",
            param=param,
        )


def doubt(calibration: Calibration) -> str:
    """What to say of a slope that was fitted on fewer than `SURE_PAIRS`; "" of others."""
    if not 0 < calibration.num_pairs < SURE_PAIRS:
        return ""
    return (
        f"calibrated on {calibration.num_pairs} pairs alone: below {SURE_PAIRS}, chance in the slope can "
        "make all of the calibration error that the gate allows; give more held-out pairs"
    )


def fit_norm(raw: Floats) -> Norm:
    """Mean and standard deviation of one head over held-out responses: ``(raw - mean) / std``.

    Args:
        raw: float64 [N], N >= 2, not all equal.
    """
    return Norm(float(raw.mean()), float(raw.std()))


def fit_slope(
    margins: Floats, clusters: Clusters, preferred: ArrayLike = 1.0, *, param: str = "data"
) -> Calibration:
    """Slope of ``P(first is preferred) = sigmoid(slope * margin)`` by maximum likelihood, without intercept.

    The standard error is the cluster-robust sandwich (Liang and Zeger, 1986): pairs of one prompt are not
    independent.

    Args:
        margins: float64 [N], reward of the first less reward of the second.
        clusters: N prompt keys.
        preferred: float64 [N] in [0, 1], or one for all: 1 where the first was chosen, 0.5 for a tie, else
            its share of votes.
        param: what an error names.

    Raises:
        InvalidInput: a margin is not finite, or they order the pairs no better than chance, or without a
            single error.
    """
    floats(margins, param)
    labels = np.broadcast_to(np.asarray(preferred, dtype=np.float64), margins.shape)
    slope = _best_slope(margins, labels)
    if not 0.0 < slope < MAX_SLOPE:
        raise InvalidInput(
            f"the calibration slope is {slope:.3g}; held-out pairs must be ordered better than chance and "
            f"hold some errors: give more of them in {param}, or improve the model",
            param=param,
        )
    wrong = _share(-slope * margins)
    information = float((margins**2 * wrong * (1.0 - wrong)).sum())
    scores = cluster_sums(cluster_codes(clusters, len(margins)), _gradient(slope, margins, labels))
    return Calibration(slope, float(np.sqrt((scores**2).sum()) / information), len(margins))


def calibrated_log_loss(margins: Floats, preferred: ArrayLike = 1.0) -> float:
    """Mean negative log likelihood at the best slope >= 0, in nats: log 2 for what orders by chance.

    Args:
        margins, preferred: as for `fit_slope`; finite.
    """
    labels = np.broadcast_to(np.asarray(preferred, dtype=np.float64), margins.shape)
    slope = _best_slope(margins, labels)
    logits = slope * margins
    losses = labels * np.logaddexp(0.0, -logits) + (1.0 - labels) * np.logaddexp(0.0, logits)
    return log(2.0) if slope == 0.0 else float(losses.mean())


def _best_slope(margins: Floats, labels: Floats) -> float:
    """Maximiser of a concave likelihood over [0, MAX_SLOPE], by bisection of its derivative."""
    if _gradient(0.0, margins, labels).sum() <= 0.0:
        return 0.0
    contradicted = np.where(margins > 0.0, 1.0 - labels, labels) * np.abs(margins)
    if not contradicted.any():
        return MAX_SLOPE
    low, high = 0.0, MAX_SLOPE
    for _ in range(200):
        middle = (low + high) / 2.0
        if float(_gradient(middle, margins, labels).sum()) > 0.0:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def _gradient(slope: float, margins: Floats, labels: Floats) -> Floats:
    """Derivative of each pair's log likelihood by the slope."""
    logits = slope * margins
    return np.asarray(margins * (labels * _share(-logits) - (1.0 - labels) * _share(logits)))


def _share(logits: Floats) -> Floats:
    """Sigmoid without overflow."""
    shares: Floats = np.exp(-np.logaddexp(0.0, -logits))
    return shares
