"""Whether the response with more markup or punctuation wins."""

import numpy as np

from guerdon_training.audit.baseline import rule_findings, rule_verdict
from guerdon_training.audit.check import Check, Finding, not_applicable
from guerdon_training.audit.records import Records
from guerdon_training.audit.style_features import FEATURES

NAME, TITLE = "format_bias", "Format bias"


def check_format_bias(records: Records) -> Check:
    """Accuracy of "more of it wins" for lists, bold, headers, code and punctuation; a tie scores half."""
    if not records.pairs:
        return not_applicable(NAME, TITLE, "no pairs in these files")
    overall: list[Finding] = []
    by_source: list[Finding] = []
    differ: list[Finding] = []
    for name, count in FEATURES.items():
        gap = np.array([count(p.chosen) - count(p.rejected) for p in records.pairs], np.float64)
        rule = rule_findings(records, f"more {name} wins", gap)
        overall.append(rule[0])
        by_source += rule[1:]
        num = int(np.count_nonzero(gap))
        differ.append(Finding(f"pairs that differ in {name}", num, "rows", num=len(gap)))
    verdict, reason = rule_verdict([*overall, *by_source])
    return Check(NAME, TITLE, verdict, reason, (*overall, *differ, *by_source))
