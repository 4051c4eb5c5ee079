"""Which annotators are reliable."""

import numpy as np
from numpy.typing import NDArray

from guerdon_training.audit.check import Check, Finding, Verdict, not_applicable
from guerdon_training.audit.dawid_skene import fit_dawid_skene
from guerdon_training.audit.rated import Rated, rated_groups
from guerdon_training.audit.records import Records

NAME, TITLE = "annotators", "Reliability of each annotator"

MIN_SKILL = 0.2
"""Chance-corrected accuracy below which an annotator's labels hardly depend on the item."""

MIN_LABELS = 20
"""Labels below which an annotator is reported but not judged."""

FAIL_ABOVE = 0.20
"""Share of all labels that come from such annotators."""


def check_annotators(records: Records) -> Check:
    """Dawid-Skene accuracy of each annotator, from groups with at least three: two cannot be told apart.

    Numbered scales are left out: their labels are opinions on a scale, not one truth with errors.
    """
    groups = [
        r
        for r in rated_groups(records.judgements)
        if len(r.annotator_names) >= 3 and not isinstance(r.labels[0], float)
    ]
    if not groups:
        return not_applicable(
            NAME, TITLE, "no group of categorical labels by at least three named annotators"
        )
    findings: list[Finding] = []
    poor: list[str] = []
    num_poor = num_labels = 0
    for rated in groups:
        accuracy, skill, sizes = _reliability(rated)
        for i, name in enumerate(rated.annotator_names):
            group, num = f"annotator={name}", int(sizes[i])
            findings.append(Finding("accuracy (Dawid-Skene)", float(accuracy[i]), "share", group, num=num))
            findings.append(Finding("skill beyond chance", float(skill[i]), "coefficient", group, num=num))
            if num >= MIN_LABELS and skill[i] < MIN_SKILL:
                poor.append(name)
                num_poor += num
        num_labels += int(sizes.sum())
    if not poor:
        return Check(
            NAME, TITLE, Verdict.PASS, f"every annotator has skill of at least {MIN_SKILL}", tuple(findings)
        )
    verdict = Verdict.FAIL if num_poor > FAIL_ABOVE * num_labels else Verdict.WARN
    who = f"{len(poor)} annotators ({num_poor} of {num_labels} labels)"
    reason = f"{who} answer almost without regard to the item: {', '.join(poor[:10])}"
    return Check(NAME, TITLE, verdict, reason, tuple(findings))


def _reliability(rated: Rated) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Accuracy, skill and number of labels, each [annotators]."""
    model = fit_dawid_skene(rated.items, rated.annotators, rated.given, len(rated.labels))
    return model.accuracy, model.skill, np.bincount(rated.annotators)
