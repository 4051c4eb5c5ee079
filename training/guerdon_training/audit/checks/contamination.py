"""Prompts of named evaluation files that are in the audited files."""

from collections.abc import Hashable, Iterable, Sequence

from guerdon_service.core.opening import opening
from guerdon_training.audit.check import Check, Finding, Verdict, not_applicable
from guerdon_training.audit.records import Prompt, Records
from guerdon_training.audit.repeated import places_of

NAME, TITLE = "contamination", "Leakage of evaluation prompts"


def check_contamination(records: Records) -> Check:
    """Fail on an evaluation prompt among the audited ones; warn of shared openings and near-duplicates."""
    if not records.evaluation:
        return not_applicable(NAME, TITLE, "no evaluation file given (--against)")
    clusters = records.prompt_clusters
    same = _shared(records, records.prompt_keys, records.evaluation_keys)
    opened = _shared(records, *map(_openings, (records.prompts, records.evaluation)))
    near = _shared(
        records, [clusters[k] for k in records.prompt_keys], [clusters[k] for k in records.evaluation_keys]
    )
    num = len(records.evaluation)
    findings = (
        Finding("evaluation prompts found", len(same), "rows", num=num),
        Finding("evaluation openings found", len(opened), "rows", num=num),
        Finding("evaluation prompts with a near-duplicate", len(near), "rows", num=num),
    )
    verdict = Verdict.FAIL if same else Verdict.WARN if opened or near else Verdict.PASS
    reason = f"of {num} evaluation prompts {len(same)} are in these files, {len(near)} have a near-duplicate"
    return Check(NAME, TITLE, verdict, reason, findings, places_of(same or opened or near))


def _openings(prompts: Sequence[Prompt]) -> list[str]:
    return [opening(p.turns) for p in prompts]


def _shared(
    records: Records, audited: Iterable[Hashable], evaluation: Iterable[Hashable]
) -> list[list[object]]:
    """Place of each evaluation prompt whose key occurs in the audited files, with the place it occurs at."""
    first: dict[Hashable, Prompt] = {}
    for prompt, key in zip(records.prompts, audited, strict=True):
        first.setdefault(key, prompt)
    found = ((p, first.get(key)) for p, key in zip(records.evaluation, evaluation, strict=True))
    return [[p.place, other.place] for p, other in found if other is not None]
