"""Pairs whose two responses answer different prompts."""

from guerdon_training.audit.check import Check, Finding, not_applicable, verdict_by_share
from guerdon_training.audit.records import Records
from guerdon_training.audit.repeated import MAX_PLACES

NAME, TITLE = "prompt_mismatch", "Prompts that differ inside a pair"

FAIL_ABOVE = 0.005
"""Share of pairs; HH-RLHF's harmless test file has 5 in 2,312."""


def check_prompt_mismatch(records: Records) -> Check:
    """Possible only in formats that store two whole transcripts."""
    if not records.pairs:
        return not_applicable(NAME, TITLE, "no pairs in these files")
    differing = [p for p in records.pairs if p.prompt != p.rejected_prompt]
    num = len(records.pairs)
    findings = (Finding("pairs with two prompts", len(differing), "rows", num=num),)
    places = tuple(str(p.place) for p in differing[:MAX_PLACES])
    verdict = verdict_by_share(len(differing), num, FAIL_ABOVE)
    return Check(NAME, TITLE, verdict, f"{len(differing)} of {num} pairs hold two prompts", findings, places)
