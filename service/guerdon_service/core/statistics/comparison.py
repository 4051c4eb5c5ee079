"""The verdict on two scorers of the same items."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.statistics.arrays import (
    Clusters,
    Floats,
    Ints,
    check_open_share,
    cluster_codes,
    shares,
)
from guerdon_service.core.statistics.holm import holm
from guerdon_service.core.statistics.interval import Interval
from guerdon_service.core.statistics.mcnemar import mcnemar_paired
from guerdon_service.core.statistics.paired_mean import paired_mean
from guerdon_service.core.statistics.power import minimum_detectable_effect
from guerdon_service.core.statistics.ranks import dense_ranks

MIN_PROMPTS = 20
"""Fewer show nothing of other prompts, however many items they have: no verdict on them holds or vouches."""
Verdict = Literal["better", "not worse", "worse", "inconclusive"]


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """Candidate against baseline on the same items.

    candidate, baseline: accuracy of each.
    delta: candidate less baseline, with its interval at ``1 - alpha``, clusters respected.
    p_better, p_not_worse, p_worse: one-sided p-values against "no better", "worse by the margin or more" and
        "no worse", clusters respected; in `slices` adjusted by Holm over the slices.
    mid_p: McNemar's, items taken as independent; quoted beside the verdict, which does not rest on it.
    discordance: mean squared difference; for values of 0 and 1 the share of items on which the two differ.
    design_effect: variance of delta over what independent items would give; at least 1.
    minimum_detectable_effect: difference that this comparison would find with 80 % probability.
    verdict: see `compare_paired`.
    """

    num_items: int
    num_clusters: int
    candidate: float
    baseline: float
    delta: Interval
    margin: float
    alpha: float
    p_better: float
    p_not_worse: float
    p_worse: float
    mid_p: float
    discordance: float
    design_effect: float
    minimum_detectable_effect: float
    verdict: Verdict
    slices: Mapping[str, "PairedComparison"] = field(default_factory=dict)


def compare_paired(
    candidate_correct: ArrayLike,
    baseline_correct: ArrayLike,
    clusters: Clusters,
    *,
    margin: float,
    alpha: float = 0.05,
    slices: Mapping[str, ArrayLike] | None = None,
) -> PairedComparison:
    """Superiority, then non-inferiority, then inferiority; the first that the data shows is the verdict.

    With (low, high) the interval of the difference at ``1 - alpha`` (`paired_mean`, clusters respected):
    - ``better``: low > 0;
    - ``not worse``: low > -margin. It may still be lower by less than the margin; `delta` tells;
    - ``worse``: high < 0;
    - ``inconclusive``: none of these. The data cannot tell; `minimum_detectable_effect` says what it could.

    Each test is one-sided at alpha / 2, and being nested in one interval they need no correction for each
    other (Morikawa and Yoshida, 1995). So a candidate that is no better is called better, and one worse by
    the margin is called not worse, in about alpha / 2 of comparisons, and fewer than alpha however rare the
    differences. Over slices each of the three families is adjusted by Holm: the same then holds of calling
    any slice better (not worse, worse) that is not.

    Args:
        candidate_correct, baseline_correct: float64 [N] in [0, 1], the same items in the same order: 1 right,
            0 wrong, 0.5 a tie.
        clusters: N keys, here prompts.
        margin: the loss that is acceptable, 0 <= margin < 1, on the scale of the values (0.01: one point).
        slices: name to bool [N], which may overlap.

    Raises:
        InvalidInput: lengths differ, a value or the margin is out of range, or a slice has no item.
    """
    candidate = shares(candidate_correct, "candidate_correct")
    baseline = shares(baseline_correct, "baseline_correct", size=len(candidate))
    codes = cluster_codes(clusters, len(candidate))
    check_open_share(alpha, "alpha")
    if not 0.0 <= margin < 1.0:
        raise InvalidInput(f"margin of {margin} must be at least 0 and below 1", param="margin")
    whole = _compare(candidate, baseline, codes, margin, alpha)
    parts = {
        name: _compare(candidate[mask], baseline[mask], dense_ranks(codes[mask]), margin, alpha)
        for name, mask in ((n, _mask(n, m, len(candidate))) for n, m in (slices or {}).items())
    }
    return replace(whole, slices=_adjust(parts))


def _compare(
    candidate: Floats, baseline: Floats, codes: Ints, margin: float, alpha: float
) -> PairedComparison:
    difference = candidate - baseline
    mean = paired_mean(difference, codes)
    alone = paired_mean(difference, np.arange(len(codes)))
    num, discordance = len(codes), float(difference @ difference) / len(codes)
    effect = max(1.0, mean.variance / alone.variance)
    p_better, p_not_worse = mean.tail(0.0), mean.tail(-margin)
    p_worse = replace(mean, value=-mean.value).tail(0.0)
    return PairedComparison(
        num_items=num,
        num_clusters=int(codes.max()) + 1,
        candidate=float(candidate.mean()),
        baseline=float(baseline.mean()),
        delta=mean.interval(1.0 - alpha),
        margin=margin,
        alpha=alpha,
        p_better=p_better,
        p_not_worse=p_not_worse,
        p_worse=p_worse,
        mid_p=mcnemar_paired(candidate, baseline).mid_p,
        discordance=discordance,
        design_effect=effect,
        minimum_detectable_effect=minimum_detectable_effect(discordance, num / effect, alpha=alpha),
        verdict=_verdict(p_better, p_not_worse, p_worse, alpha),
    )


def _verdict(p_better: float, p_not_worse: float, p_worse: float, alpha: float) -> Verdict:
    level = alpha / 2.0
    if p_better < level:
        return "better"
    if p_not_worse < level:
        return "not worse"
    return "worse" if p_worse < level else "inconclusive"


def _adjust(parts: Mapping[str, PairedComparison]) -> dict[str, PairedComparison]:
    """The slices with Holm's p-values, and the verdicts that follow from them."""
    if not parts:
        return {}
    better, not_worse, worse = (
        holm([getattr(part, name) for part in parts.values()]).tolist()
        for name in ("p_better", "p_not_worse", "p_worse")
    )
    return {
        name: replace(part, p_better=b, p_not_worse=n, p_worse=w, verdict=_verdict(b, n, w, part.alpha))
        for (name, part), b, n, w in zip(parts.items(), better, not_worse, worse, strict=True)
    }


def _mask(name: str, mask: ArrayLike, size: int) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    chosen = np.asarray(mask, dtype=np.bool_)
    if chosen.shape != (size,) or not chosen.any():
        raise InvalidInput(
            f"slice {name!r} must mark at least one of the {size} items, one flag each", param="slices"
        )
    return chosen
