"""Whether the longer response wins."""

import numpy as np
from numpy.typing import NDArray

from guerdon_service.core.statistics.clustered import clustered_rate
from guerdon_service.core.statistics.interval import Interval
from guerdon_training.audit.baseline import rule_findings, rule_verdict
from guerdon_training.audit.check import Check, Finding, not_applicable
from guerdon_training.audit.records import Records

NAME, TITLE = "length_bias", "Length bias"

BIN_EDGES = (1.1, 1.5, 2.0, 4.0, np.inf)
"""Longer over shorter length, upper edges: a bias that grows with the gap is a bias towards length itself."""


def check_length_bias(records: Records) -> Check:
    """Accuracy of "longer wins" and "shorter wins", by source and by how much longer."""
    records = records.preferred
    if not records.pairs:
        return not_applicable(NAME, TITLE, "no pairs in these files")
    lengths = np.array([(len(p.chosen), len(p.rejected)) for p in records.pairs], np.float64)
    longer = rule_findings(records, "longer wins", lengths[:, 0] - lengths[:, 1])
    shorter = tuple(_opposite(f) for f in longer)
    median = (
        Finding("median length of chosen", float(np.median(lengths[:, 0])), "characters"),
        Finding("median length of rejected", float(np.median(lengths[:, 1])), "characters"),
    )
    verdict, reason = rule_verdict((*longer, *shorter))
    return Check(NAME, TITLE, verdict, reason, (*longer, *shorter, *_by_ratio(records, lengths), *median))


def _opposite(finding: Finding) -> Finding:
    assert finding.interval is not None
    interval = Interval(1 - finding.value, 1 - finding.interval.high, 1 - finding.interval.low)
    return Finding("shorter wins", interval.value, "share", finding.group, interval, finding.num)


def _by_ratio(records: Records, lengths: NDArray[np.float64]) -> list[Finding]:
    ratio = lengths.max(axis=1) / np.maximum(lengths.min(axis=1), 1)
    wins = (np.sign(lengths[:, 0] - lengths[:, 1]) + 1) / 2
    findings, low = [], 1.0
    for high in BIN_EDGES:
        chosen = np.flatnonzero((ratio > low) & (ratio <= high))
        if len(chosen):
            rate = clustered_rate(wins[chosen], [records.pair_keys[i][0] for i in chosen])
            group = f"longer by {low:g}x to {high:g}x" if high < np.inf else f"longer by over {low:g}x"
            findings.append(Finding("longer wins", rate.value, "share", group, rate, len(chosen)))
        low = high
    return findings
