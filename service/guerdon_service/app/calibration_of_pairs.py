"""The fit of ``guerdon calibrate``: normalisation of the heads, slope of the probability."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from guerdon_service.app.calibration_scores import HeldOut
from guerdon_service.core.calibration import Z95, Calibration
from guerdon_service.core.combine import combiner
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Head, Manifest
from guerdon_service.core.statistics.arrays import Floats, Ints
from guerdon_service.core.statistics.calibration_error import calibration_error
from guerdon_service.core.statistics.calibration_fit import check_prompts, fit_norm, fit_slope
from guerdon_service.core.statistics.logistic import logistic
from guerdon_service.evaluation.correctness import contests, soft_labels


@dataclass(frozen=True, slots=True)
class Fitted:
    """What was fitted, and how it does on the pairs that it was fitted on.

    accuracy: share of the pairs of which people preferred one that the rewards order alike; equal ones count
        half.
    ece: expected calibration error, before and after.
    """

    heads: tuple[Head, ...]
    calibration: Calibration
    num_prompts: int
    accuracy: float
    ece: tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Pairs:
    """M pairs of responses to one prompt, as an evaluation counts them: all that were graded apart, and ties.

    margins: float64 [M], reward of the preferred response less that of the other.
    labels: float64 [M], share of people that preferred it: 1.0 unless votes were counted, 0.5 for a tie.
    is_tie: bool [M].
    clusters: int64 [M], the prompt of each.
    """

    margins: Floats
    labels: Floats
    is_tie: NDArray[np.bool_]
    clusters: Ints


def fit(held_out: HeldOut, manifest: Manifest) -> Fitted:
    """Normalisation of every head, and the slope of the default profile's probability.

    Raises:
        InvalidInput: too few prompts, a head that tells nothing apart, or an order that chance may have made.
    """
    before = _pairs(held_out, manifest)
    num_pairs, num_prompts = len(before.margins), len(np.unique(before.clusters))
    check_prompts(num_pairs, num_prompts, f"data ({len(held_out.left_out)} items left out)")
    heads = _normalised(held_out, manifest)
    after = _pairs(held_out, replace(manifest, heads=heads))
    calibration = fit_slope(after.margins, after.clusters, after.labels)
    if calibration.slope <= Z95 * calibration.slope_se:
        raise InvalidInput(
            "data does not show that the model orders pairs better than chance (slope "
            f"{calibration.slope:.3g}, standard error {calibration.slope_se:.3g}); give more pairs, or a "
            "better model",
            param="data",
        )
    right = (np.sign(after.margins[~after.is_tie]) + 1.0) / 2.0
    errors = (_ece(before, manifest.calibration.slope), _ece(after, calibration.slope))
    return Fitted(heads, calibration, num_prompts, float(right.mean()), errors)


def _normalised(held_out: HeldOut, manifest: Manifest) -> tuple[Head, ...]:
    raw = held_out.raw.astype(np.float64)
    heads = tuple(replace(h, norm=fit_norm(raw[:, i])) for i, h in enumerate(manifest.heads))
    for head in heads:
        if not 0.0 < head.norm.std < np.inf:
            raise InvalidInput(
                f"head {head.name} scores all responses of data alike, or not by finite numbers; give a "
                "model whose heads tell responses apart",
                param="model",
            )
    return heads


def _ece(found: _Pairs, slope: float) -> float:
    return calibration_error(logistic(slope * found.margins), found.labels, found.clusters).ece.value


def _pairs(held_out: HeldOut, manifest: Manifest) -> _Pairs:
    """What `manifest` makes of the raw scores: margins of its default profile, as served."""
    table = held_out.table
    _, profile = manifest.profile(None)
    combined = combiner(manifest, profile)
    rewards = np.array([combined(row, 0, False, False).reward for row in held_out.raw])
    found = contests(table)
    margins = rewards[found.first] - rewards[found.second]
    return _Pairs(margins, soft_labels(table, found), found.label == 0.5, table.clusters[found.item])
