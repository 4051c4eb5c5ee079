"""Whether the response shown first wins."""

from collections.abc import Sequence

import numpy as np

from guerdon_service.core.statistics.clustered import clustered_rate
from guerdon_training.audit.check import Check, Finding, Verdict, not_applicable, worst
from guerdon_training.audit.records import Judgement, Records

NAME, TITLE = "position_bias", "Position bias"

WARN_BEYOND, FAIL_BEYOND = 0.03, 0.10
"""How far the 95 % interval of "the first wins" must stay from one half."""

MIN_PER_ANNOTATOR = 20


def check_position_bias(records: Records) -> Check:
    """From `chosen_position` of pairs, and from judgements labelled a or b."""
    findings = [*_from_pairs(records.preferred), *_from_judgements(records)]
    if not findings:
        return not_applicable(NAME, TITLE, "no file records which response was shown first")
    judged = [f for f in findings if not f.group.startswith("annotator=")]
    furthest = max(judged, key=lambda f: abs(f.value - 0.5))
    reason = f"the first response wins {furthest.value:.3f} of the time ({furthest.group})"
    return Check(NAME, TITLE, worst(*map(_judge, judged)), reason, tuple(findings))


def _from_pairs(records: Records) -> list[Finding]:
    known = [
        (p, key[0])
        for p, key in zip(records.pairs, records.pair_keys, strict=True)
        if p.chosen_first is not None
    ]
    if not known:
        return []
    rate = clustered_rate(
        np.array([float(bool(p.chosen_first)) for p, _ in known]), [prompt for _, prompt in known]
    )
    return [Finding("first wins", rate.value, "share", "pairs", rate, len(known))]


def _from_judgements(records: Records) -> list[Finding]:
    groups: dict[str, list[Judgement]] = {}
    for judgement in records.judgements:
        if judgement.label in ("a", "b"):
            groups.setdefault(f"judgements={judgement.group}", []).append(judgement)
            if judgement.annotator:
                groups.setdefault(f"annotator={judgement.annotator}", []).append(judgement)
    return [
        _finding(group, rows)
        for group, rows in groups.items()
        if not group.startswith("annotator=") or len(rows) >= MIN_PER_ANNOTATOR
    ]


def _finding(group: str, rows: Sequence[Judgement]) -> Finding:
    rate = clustered_rate(np.array([float(j.label == "a") for j in rows]), [j.item for j in rows])
    return Finding("first wins", rate.value, "share", group, rate, len(rows))


def _judge(finding: Finding) -> Verdict:
    assert finding.interval is not None
    beyond = max(finding.interval.low - 0.5, 0.5 - finding.interval.high)
    return Verdict.FAIL if beyond > FAIL_BEYOND else Verdict.WARN if beyond > WARN_BEYOND else Verdict.PASS
