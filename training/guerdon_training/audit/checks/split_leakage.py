"""Prompts that are in more than one split."""

from collections.abc import Hashable, Iterable
from typing import TypeVar

from guerdon_service.core.opening import opening
from guerdon_training.audit.check import Check, Finding, Verdict, not_applicable
from guerdon_training.audit.records import Prompt, Records
from guerdon_training.audit.repeated import places_of

NAME, TITLE = "split_leakage", "Leakage between splits"
K = TypeVar("K", bound=Hashable)


def check_split_leakage(records: Records) -> Check:
    """Fail on a prompt in two splits; warn of a shared opening turn and of near-duplicates.

    Splits are the `split` column's values, or the files where there is none.
    """
    splits = sorted({p.split for p in records.prompts})
    if len(splits) < 2:
        return not_applicable(NAME, TITLE, "the files hold one split; give all splits together")
    same = _across(records, records.prompt_keys)
    opened = _across(records, [opening(p.turns) for p in records.prompts])
    clusters = records.prompt_clusters
    near = _across(records, [clusters[key] for key in records.prompt_keys])
    only_near = near.keys() - {clusters[key] for key in same}
    findings = tuple(
        Finding(f"{what} in two splits", len(crossing), "rows", num=len(records.prompts))
        for what, crossing in (
            ("prompts", same),
            ("openings", opened),
            ("near-duplicate prompts", only_near),
        )
    )
    places = places_of([[p.place for p in g] for g in (same or opened or near).values()])
    reason = (
        f"{len(same)} prompts, {len(opened)} openings and {len(near)} near-duplicate clusters cross splits"
    )
    verdict = Verdict.FAIL if same else Verdict.WARN if opened or near else Verdict.PASS
    return Check(NAME, TITLE, verdict, f"{reason} ({', '.join(splits)})", findings, places)


def _across(records: Records, keys: Iterable[K]) -> dict[K, list[Prompt]]:
    """The first prompt of each split, for every key that is in more than one."""
    found: dict[K, dict[str, Prompt]] = {}
    for prompt, key in zip(records.prompts, keys, strict=True):
        found.setdefault(key, {}).setdefault(prompt.split, prompt)
    return {key: list(by_split.values()) for key, by_split in found.items() if len(by_split) > 1}
