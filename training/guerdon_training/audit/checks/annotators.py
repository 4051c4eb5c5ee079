"""Which annotators are reliable."""

from dataclasses import dataclass
from math import atanh, sqrt, tanh

import numpy as np
from numpy.typing import NDArray

from guerdon_service.core.calibration import Z95
from guerdon_service.core.statistics.dawid_skene import fit_dawid_skene
from guerdon_training.audit.check import Check, Finding, Verdict, not_applicable
from guerdon_training.audit.consensus import consensus_correlation
from guerdon_training.audit.rated import Rated, rated_groups, shared_items
from guerdon_training.audit.records import Records

NAME, TITLE = "annotators", "Reliability of each annotator"

MIN_SKILL = 0.2
"""Chance-corrected accuracy, or correlation, below which labels hardly depend on the item."""

MIN_LABELS = 20
"""Labels of shared items below which an annotator is reported but not judged."""

FAIL_ABOVE = 0.20
"""Share of all labels that come from such annotators."""


@dataclass(frozen=True, slots=True)
class _Reliability:
    findings: tuple[Finding, ...]
    poor: tuple[str, ...]


def check_annotators(records: Records) -> Check:
    """Accuracy of each annotator by Dawid-Skene; of numeric ratings, correlation with the others' mean.

    On the items that another annotator judged too: nothing else says how good a label is. Groups with fewer
    than three annotators there are left out: two cannot be told apart.
    """
    named = [r for r in rated_groups(records.judgements) if r.annotator_names]
    groups = [(r, s) for r in named if len((s := shared_items(r)).annotator_names) >= 3]
    if not groups:
        return not_applicable(NAME, TITLE, "no group of items shared by at least three named annotators")
    found = [_by_rating(s) if isinstance(s.labels[0], float) else _by_label(s) for _, s in groups]
    findings = tuple(f for one in found for f in one.findings)
    findings += tuple(f for rated, shared in groups for f in _alone(rated, shared))
    poor = [name for one in found for name in one.poor]
    if not poor:
        return Check(NAME, TITLE, Verdict.PASS, f"no annotator has skill below {MIN_SKILL}", findings)
    num_poor = sum(_num_labels(rated, one.poor) for (rated, _), one in zip(groups, found, strict=True))
    num = sum(len(rated.given) for rated, _ in groups)
    verdict = Verdict.FAIL if num_poor > FAIL_ABOVE * num else Verdict.WARN
    who = f"{len(poor)} annotators ({num_poor} of {num} labels)"
    reason = f"{who} answer almost without regard to the item: {', '.join(poor[:10])}"
    return Check(NAME, TITLE, verdict, reason, findings)


def _by_label(shared: Rated) -> _Reliability:
    model = fit_dawid_skene(shared.items, shared.annotators, shared.given, len(shared.labels))
    return _judge(shared, "skill beyond chance (Dawid-Skene)", model.skill, model.skill, model.accuracy)


def _by_rating(shared: Rated) -> _Reliability:
    """Judged by the upper end of the correlation's interval (Fisher's transform), not by a model.

    Simulated with 20 to 200 ratings of five points: of annotators whose correlation is `MIN_SKILL` 2 to 3 %
    are called poor. Of those who rate at random it is 12 % of 20 ratings, 28 % of 50 and 81 % of 200. Where
    nine ratings of ten are the lowest there are, the former are 6 to 14 % from 50 on: few rare items then
    make all of the correlation, which spreads more than the transform says, and nothing in the ratings of
    who has not met enough of them shows it.
    """
    ratings = np.array([float(label) for label in shared.labels])[shared.given]
    found = consensus_correlation(shared.items, shared.annotators, ratings)
    sizes = np.bincount(shared.annotators)
    upper = [
        tanh(atanh(max(-0.999, min(0.999, r))) + Z95 / sqrt(max(n - 3, 1)))
        for r, n in zip(found.tolist(), sizes.tolist(), strict=True)
    ]
    return _judge(shared, "correlation with the others", found, np.array(upper))


def _judge(
    shared: Rated,
    name: str,
    skill: NDArray[np.float64],
    judged: NDArray[np.float64],
    accuracy: NDArray[np.float64] | None = None,
) -> _Reliability:
    """Findings per annotator, and those whose judged figure is too low; all arrays are [annotators]."""
    sizes = np.bincount(shared.annotators)
    findings = []
    for i, who in enumerate(shared.annotator_names):
        group, num = f"annotator={who}", int(sizes[i])
        findings.append(Finding(name, float(skill[i]), "coefficient", group, num=num))
        if accuracy is not None:
            findings.append(Finding("accuracy (Dawid-Skene)", float(accuracy[i]), "share", group, num=num))
    poor = np.flatnonzero((sizes >= MIN_LABELS) & (judged < MIN_SKILL))
    return _Reliability(tuple(findings), tuple(shared.annotator_names[i] for i in poor))


def _alone(rated: Rated, shared: Rated) -> list[Finding]:
    """Who shares no item with anybody, of whom nothing can be said."""
    names = [who for who in rated.annotator_names if who not in set(shared.annotator_names)]
    return [
        Finding("labels that no other annotator's stand beside", num, "rows", f"annotator={who}", num=num)
        for who in names
        for num in (_num_labels(rated, (who,)),)
    ]


def _num_labels(rated: Rated, names: tuple[str, ...]) -> int:
    places = [rated.annotator_names.index(who) for who in names]
    return int(np.isin(rated.annotators, places).sum())
