"""Who gave the labels, and which groups are too small to be heard."""

from collections.abc import Mapping, Sequence

import numpy as np

from guerdon_service.core.statistics.clustered import clustered_mean
from guerdon_training.audit.check import Check, Finding, Verdict, not_applicable
from guerdon_training.audit.records import Judgement, Records

NAME, TITLE = "demographics", "Coverage by demographic group"

MIN_ANNOTATORS = 10
"""People in a group below which its mean says more about them than about the group."""


def check_demographics(records: Records) -> Check:
    """Annotators and judgements of each group, and its mean rating where ratings are numbers."""
    rows = [j for j in records.judgements if j.demographics]
    if not rows:
        return not_applicable(NAME, TITLE, "no judgement records who gave it")
    findings: list[Finding] = []
    small: list[str] = []
    for (attribute, value), members in _groups(rows).items():
        group = f"{attribute}={value or 'not given'}"
        people = len({j.annotator for j in members})
        findings.append(Finding("annotators", people, "rows", group))
        findings.append(Finding("judgements", len(members), "rows", group))
        findings += _mean_rating(group, members)
        if people < MIN_ANNOTATORS:
            small.append(f"{group} ({people})")
    if small:
        reason = f"{len(small)} groups have fewer than {MIN_ANNOTATORS} annotators: {', '.join(small[:10])}"
        return Check(NAME, TITLE, Verdict.WARN, reason, tuple(findings))
    return Check(
        NAME, TITLE, Verdict.PASS, f"every group has at least {MIN_ANNOTATORS} annotators", tuple(findings)
    )


def _groups(rows: Sequence[Judgement]) -> Mapping[tuple[str, str], list[Judgement]]:
    groups: dict[tuple[str, str], list[Judgement]] = {}
    for row in rows:
        for item in row.demographics.items():
            groups.setdefault(item, []).append(row)
    return dict(sorted(groups.items()))


def _mean_rating(group: str, members: Sequence[Judgement]) -> list[Finding]:
    """Mean with an interval that counts people, not judgements, as independent."""
    if not all(isinstance(j.label, float) for j in members):
        return []
    mean = clustered_mean(np.array([float(j.label) for j in members]), [j.annotator for j in members])
    return [Finding("mean rating", mean.value, "rating", group, mean, len(members))]
