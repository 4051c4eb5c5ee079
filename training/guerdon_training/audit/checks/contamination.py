"""Prompts of named evaluation files that are in the audited files."""

from collections.abc import Callable, Hashable

from guerdon_training.audit.check import Check, Finding, Verdict, not_applicable
from guerdon_training.audit.fold import fold_opening, fold_prompt
from guerdon_training.audit.records import Prompt, Records
from guerdon_training.audit.repeated import places_of

NAME, TITLE = "contamination", "Leakage of evaluation prompts"


def check_contamination(records: Records) -> Check:
    """Fail on an evaluation prompt among the audited ones; warn of shared openings and near-duplicates."""
    if not records.evaluation:
        return not_applicable(NAME, TITLE, "no evaluation file given (--against)")
    same = _shared(records, lambda p: fold_prompt(p.turns))
    opening = _shared(records, lambda p: fold_opening(p.turns))
    near = _shared(records, lambda p: records.prompt_clusters[fold_prompt(p.turns)])
    num = len(records.evaluation)
    findings = (
        Finding("evaluation prompts found", len(same), "rows", num=num),
        Finding("evaluation openings found", len(opening), "rows", num=num),
        Finding("evaluation prompts with a near-duplicate", len(near), "rows", num=num),
    )
    verdict = Verdict.FAIL if same else Verdict.WARN if opening or near else Verdict.PASS
    reason = f"of {num} evaluation prompts {len(same)} are in these files, {len(near)} have a near-duplicate"
    return Check(NAME, TITLE, verdict, reason, findings, places_of(same or opening or near))


def _shared(records: Records, key: Callable[[Prompt], Hashable]) -> list[list[object]]:
    """Place of each evaluation prompt whose key occurs in the audited files, with the place it occurs at."""
    audited: dict[Hashable, Prompt] = {}
    for prompt in records.prompts:
        audited.setdefault(key(prompt), prompt)
    found = ((p, audited.get(key(p))) for p in records.evaluation)
    return [[p.place, other.place] for p, other in found if other is not None]
