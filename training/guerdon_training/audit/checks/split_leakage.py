"""Prompts that are in more than one split."""

from collections.abc import Callable, Hashable

from guerdon_training.audit.check import Check, Finding, Verdict, not_applicable
from guerdon_training.audit.fold import fold_opening, fold_prompt
from guerdon_training.audit.records import Prompt, Records
from guerdon_training.audit.repeated import places_of

NAME, TITLE = "split_leakage", "Leakage between splits"


def check_split_leakage(records: Records) -> Check:
    """Fail on a prompt in two splits; warn of a shared opening turn and of near-duplicates.

    Splits are the `split` column's values, or the files where there is none.
    """
    splits = sorted({p.split for p in records.prompts})
    if len(splits) < 2:
        return not_applicable(NAME, TITLE, "the files hold one split; give all splits together")
    same = _across(records, lambda p: fold_prompt(p.turns))
    opening = _across(records, lambda p: fold_opening(p.turns))
    near = _across(records, lambda p: records.prompt_clusters[fold_prompt(p.turns)])
    findings = (
        Finding("prompts in two splits", len(same), "rows", num=len(records.prompts)),
        Finding("openings in two splits", len(opening), "rows", num=len(records.prompts)),
        Finding(
            "near-duplicate prompts in two splits", len(near) - len(same), "rows", num=len(records.prompts)
        ),
    )
    places = places_of([[p.place for p in g] for g in (same or opening or near)])
    reason = (
        f"{len(same)} prompts, {len(opening)} openings and {len(near)} near-duplicate clusters cross splits"
    )
    verdict = Verdict.FAIL if same else Verdict.WARN if opening or near else Verdict.PASS
    return Check(NAME, TITLE, verdict, f"{reason} ({', '.join(splits)})", findings, places)


def _across(records: Records, key: Callable[[Prompt], Hashable]) -> list[list[Prompt]]:
    """The first prompt of each split, for every key that is in more than one."""
    found: dict[Hashable, dict[str, Prompt]] = {}
    for prompt in records.prompts:
        found.setdefault(key(prompt), {}).setdefault(prompt.split, prompt)
    return [list(by_split.values()) for by_split in found.values() if len(by_split) > 1]
