"""Responses without text."""

from guerdon_training.audit.check import Check, Finding, not_applicable, verdict_by_share
from guerdon_training.audit.records import Records
from guerdon_training.audit.repeated import MAX_PLACES

NAME, TITLE = "empty_responses", "Empty responses"

FAIL_ABOVE = 0.001
"""Share of pairs; HH-RLHF's harmless test file has 4 in 2,312."""


def check_empty_responses(records: Records) -> Check:
    """Only white space, in either place."""
    if not records.pairs:
        return not_applicable(NAME, TITLE, "no pairs in these files")
    empty = [p for p in records.pairs if not (p.chosen.strip() and p.rejected.strip())]
    num, num_chosen = len(records.pairs), sum(not p.chosen.strip() for p in empty)
    findings = (
        Finding("chosen is empty", num_chosen, "rows", num=num),
        Finding("rejected is empty", sum(not p.rejected.strip() for p in empty), "rows", num=num),
    )
    places = tuple(str(p.place) for p in empty[:MAX_PLACES])
    verdict = verdict_by_share(len(empty), num, FAIL_ABOVE)
    return Check(
        NAME, TITLE, verdict, f"{len(empty)} of {num} pairs have an empty response", findings, places
    )
