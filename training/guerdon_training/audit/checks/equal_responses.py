"""Pairs whose two responses are the same text."""

from guerdon_training.audit.check import Check, Finding, not_applicable, verdict_by_share
from guerdon_training.audit.records import Records
from guerdon_training.audit.repeated import MAX_PLACES

NAME, TITLE = "equal_responses", "Chosen equal to rejected"

FAIL_ABOVE = 0.001
"""Share of pairs with nothing to learn from; the recipes refuse such rows, so a few are a reason to look."""


def check_equal_responses(records: Records) -> Check:
    """Equal but for case and white space: nothing is preferred to itself."""
    if not records.pairs:
        return not_applicable(NAME, TITLE, "no pairs in these files")
    equal = [
        p
        for p, (_, a, b) in zip(records.pairs, records.pair_keys, strict=True)
        if a == b and p.chosen.strip()
    ]
    identical = sum(p.chosen == p.rejected for p in equal)
    num = len(records.pairs)
    findings = (
        Finding("identical responses", identical, "rows", num=num),
        Finding("responses equal but for case and white space", len(equal) - identical, "rows", num=num),
    )
    places = tuple(str(p.place) for p in equal[:MAX_PLACES])
    verdict = verdict_by_share(len(equal), num, FAIL_ABOVE)
    return Check(
        NAME, TITLE, verdict, f"{len(equal)} of {num} pairs compare a text with itself", findings, places
    )
