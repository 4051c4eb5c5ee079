"""Prompts that are in more than one split."""

from collections.abc import Hashable, Iterable

from guerdon_training.audit.check import Check, Finding, Verdict, not_applicable
from guerdon_training.audit.fold import fold_opening
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
    same = _across(records, records.prompt_keys)
    opening = _across(records, [fold_opening(p.turns) for p in records.prompts])
    near = _across(records, [records.prompt_clusters[key] for key in records.prompt_keys])
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


def _across(records: Records, keys: Iterable[Hashable]) -> list[list[Prompt]]:
    """The first prompt of each split, for every key that is in more than one."""
    found: dict[Hashable, dict[str, Prompt]] = {}
    for prompt, key in zip(records.prompts, keys, strict=True):
        found.setdefault(key, {}).setdefault(prompt.split, prompt)
    return [list(by_split.values()) for by_split in found.values() if len(by_split) > 1]
