"""Which annotators are reliable."""

from dataclasses import dataclass
from math import atanh, sqrt, tanh

import numpy as np
from numpy.typing import NDArray

from guerdon_service.core.calibration import Z95
from guerdon_service.core.statistics.dawid_skene import fit_dawid_skene
from guerdon_training.audit.check import Check, Finding, Verdict, not_applicable
from guerdon_training.audit.consensus import consensus_correlation
from guerdon_training.audit.rated import Rated, rated_groups
from guerdon_training.audit.records import Records

NAME, TITLE = "annotators", "Reliability of each annotator"

MIN_SKILL = 0.2
"""Chance-corrected accuracy, or correlation, below which labels hardly depend on the item."""

MIN_LABELS = 20
"""Labels below which an annotator is reported but not judged."""

FAIL_ABOVE = 0.20
"""Share of all labels that come from such annotators."""


@dataclass(frozen=True, slots=True)
class _Reliability:
    findings: tuple[Finding, ...]
    poor: tuple[str, ...]
    num_poor_labels: int


def check_annotators(records: Records) -> Check:
    """Accuracy of each annotator by Dawid-Skene; of numeric ratings, correlation with the others' mean.

    Groups with fewer than three annotators are left out: two cannot be told apart.
    """
    groups = [r for r in rated_groups(records.judgements) if len(r.annotator_names) >= 3]
    if not groups:
        return not_applicable(NAME, TITLE, "no group of labels by at least three named annotators")
    found = [_by_rating(r) if isinstance(r.labels[0], float) else _by_label(r) for r in groups]
    findings = tuple(f for one in found for f in one.findings)
    poor = [name for one in found for name in one.poor]
    if not poor:
        return Check(NAME, TITLE, Verdict.PASS, f"no annotator has skill below {MIN_SKILL}", findings)
    num_poor, num = sum(one.num_poor_labels for one in found), sum(len(r.given) for r in groups)
    verdict = Verdict.FAIL if num_poor > FAIL_ABOVE * num else Verdict.WARN
    who = f"{len(poor)} annotators ({num_poor} of {num} labels)"
    reason = f"{who} answer almost without regard to the item: {', '.join(poor[:10])}"
    return Check(NAME, TITLE, verdict, reason, findings)


def _by_label(rated: Rated) -> _Reliability:
    model = fit_dawid_skene(rated.items, rated.annotators, rated.given, len(rated.labels))
    return _judge(rated, "skill beyond chance (Dawid-Skene)", model.skill, model.skill, model.accuracy)


def _by_rating(rated: Rated) -> _Reliability:
    """Judged by the upper end of the correlation's interval (Fisher's transform), not by a model."""
    ratings = np.array([float(label) for label in rated.labels])[rated.given]
    found = consensus_correlation(rated.items, rated.annotators, ratings)
    sizes = np.bincount(rated.annotators)
    upper = [
        tanh(atanh(max(-0.999, min(0.999, r))) + Z95 / sqrt(max(n - 3, 1)))
        for r, n in zip(found.tolist(), sizes.tolist(), strict=True)
    ]
    return _judge(rated, "correlation with the others", found, np.array(upper))


def _judge(
    rated: Rated,
    name: str,
    skill: NDArray[np.float64],
    judged: NDArray[np.float64],
    accuracy: NDArray[np.float64] | None = None,
) -> _Reliability:
    """Findings per annotator, and those whose judged figure is too low; all arrays are [annotators]."""
    sizes = np.bincount(rated.annotators)
    findings = []
    for i, who in enumerate(rated.annotator_names):
        group, num = f"annotator={who}", int(sizes[i])
        findings.append(Finding(name, float(skill[i]), "coefficient", group, num=num))
        if accuracy is not None:
            findings.append(Finding("accuracy (Dawid-Skene)", float(accuracy[i]), "share", group, num=num))
    poor = [int(i) for i in np.flatnonzero((sizes >= MIN_LABELS) & (judged < MIN_SKILL))]
    return _Reliability(
        tuple(findings), tuple(rated.annotator_names[i] for i in poor), int(sizes[poor].sum()) if poor else 0
    )
