"""How many rows there are, by file, split, source and slice."""

from collections import Counter
from collections.abc import Iterable

from guerdon_training.audit.check import Check, Finding, Verdict
from guerdon_training.audit.records import Records

MIN_PAIRS = 30
"""Pairs of one source below which its accuracy has a 95 % interval wider than 34 points (Wilson, n = 30)."""

NAME, TITLE = "counts", "Counts by source and slice"


def check_counts(records: Records) -> Check:
    """Warn of a source too small to be measured."""
    findings = [
        Finding("pairs", len(records.pairs), "rows"),
        Finding("pairs that tie", len(records.pairs) - len(records.preferred.pairs), "rows"),
        Finding("prompts", len(records.prompts), "rows"),
        Finding("judgements", len(records.judgements), "rows"),
        Finding("evaluation prompts", len(records.evaluation), "rows"),
    ]
    sources = Counter(p.source for p in records.pairs)
    findings += _by("pairs", "file", (p.place.file for p in records.pairs))
    findings += _by("pairs", "split", (p.split for p in records.pairs))
    findings += _by("pairs", "source", (p.source for p in records.pairs))
    for name in sorted({name for p in records.pairs for name in p.slices}):
        findings += _by("pairs", name, (p.slices.get(name, "not given") for p in records.pairs))
    findings += _by("judgements", "group", (j.group for j in records.judgements))
    small = sorted(f"{s or 'not given'} ({n})" for s, n in sources.items() if n < MIN_PAIRS)
    if small:
        return Check(
            NAME, TITLE, Verdict.WARN, f"too few pairs to measure: {', '.join(small)}", tuple(findings)
        )
    reason = f"{len(records.pairs)} pairs of {len(sources)} source(s), each with at least {MIN_PAIRS}"
    return Check(NAME, TITLE, Verdict.PASS, reason if sources else "no pairs in these files", tuple(findings))


def _by(what: str, name: str, values: Iterable[str]) -> list[Finding]:
    return [Finding(what, num, "rows", f"{name}={value}") for value, num in Counter(values).most_common()]
