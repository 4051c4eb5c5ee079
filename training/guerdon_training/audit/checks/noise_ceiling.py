"""How good a perfect model can look on these labels."""

import numpy as np
from numpy.typing import NDArray

from guerdon_service.core.statistics.interval import Interval
from guerdon_service.core.statistics.noise import ceiling, flip_rate, majority_ceiling, pairwise_agreement
from guerdon_training.audit.check import Check, Finding, Verdict, not_applicable, worst
from guerdon_training.audit.rated import Rated, rated_groups
from guerdon_training.audit.records import Records

NAME, TITLE = "noise_ceiling", "Noise ceiling"

PASS_FROM, FAIL_BELOW = 0.75, 0.65
"""Ceiling against one label; 0.755 follows from 63 % agreement, the figure for HH-RLHF's crowd votes."""


def check_noise_ceiling(records: Records) -> Check:
    """Agreement, flip rate and ceiling of each group; numbered scales are left out.

    Of comparisons only votes for a side count. The ceiling lies between two bounds: see `noise`.
    """
    findings: list[Finding] = []
    verdicts, phrases = [], []
    for rated in rated_groups(records.judgements):
        if isinstance(rated.labels[0], float):
            continue
        counts = _decisive(rated)
        if not (counts.sum(axis=1) >= 2).any():
            continue
        agreement = pairwise_agreement(counts)
        found = _findings(rated, counts, agreement)
        findings += found
        best = 1 - flip_rate(agreement.value, counts.shape[1])
        verdicts.append(
            Verdict.PASS if best >= PASS_FROM else Verdict.WARN if best >= FAIL_BELOW else Verdict.FAIL
        )
        phrases.append(f"{rated.group}: at most {best:.3f} against one label")
    if not findings:
        return not_applicable(
            NAME, TITLE, "no item has two categorical labels; see the flip rate of `transitivity`"
        )
    return Check(NAME, TITLE, worst(*verdicts), "; ".join(phrases), tuple(findings))


def _decisive(rated: Rated) -> NDArray[np.float64]:
    """Counts without ties, which no pair set keeps."""
    counts = rated.counts
    if rated.is_preference:
        counts = counts[:, [i for i, label in enumerate(rated.labels) if label != "tie"]]
    return counts if counts.shape[1] > 1 else np.pad(counts, ((0, 0), (0, 1)))


def _findings(rated: Rated, counts: NDArray[np.float64], agreement: Interval) -> list[Finding]:
    group, num_labels = rated.group, counts.shape[1]
    num = int((counts.sum(axis=1) >= 2).sum())
    bounds = [ceiling(a, num_labels) for a in (agreement.value, agreement.low, agreement.high)]
    flips = [flip_rate(a, num_labels) for a in (agreement.value, agreement.high, agreement.low)]
    findings = [
        Finding("agreement of two annotators", agreement.value, "share", group, agreement, num),
        Finding("flip rate, even noise", flips[0], "share", group, Interval(*flips), num),
        Finding(
            "ceiling against one label, even noise", bounds[0][1], "share", group, _interval(bounds, 1), num
        ),
        Finding(
            "ceiling against one label, uneven noise", bounds[0][0], "share", group, _interval(bounds, 0), num
        ),
    ]
    sizes, frequency = np.unique(counts.sum(axis=1).astype(np.int64), return_counts=True)
    votes = int(sizes[frequency.argmax()])
    if num_labels == 2 and votes >= 3 and votes % 2:
        bounds = [majority_ceiling(a, votes) for a in (agreement.value, agreement.low, agreement.high)]
        name = f"ceiling against the majority of {votes}, even noise"
        findings.append(Finding(name, bounds[0][1], "share", group, _interval(bounds, 1), num))
    return findings


def _interval(bounds: list[tuple[float, float]], side: int) -> Interval:
    value, low, high = (b[side] for b in bounds)
    return Interval(value, low, high)
