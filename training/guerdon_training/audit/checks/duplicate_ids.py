"""Ids used more than once."""

from guerdon_training.audit.check import Check, Finding, Verdict, not_applicable
from guerdon_training.audit.records import Records
from guerdon_training.audit.repeated import groups_of, places_of

NAME, TITLE = "duplicate_ids", "Ids used twice"


def check_duplicate_ids(records: Records) -> Check:
    """Fail on any: per-item scores of two models could no longer be matched."""
    named = [p for p in records.pairs if p.id]
    if not named:
        return not_applicable(NAME, TITLE, "no pair has an id")
    groups = groups_of(p.id for p in named)
    findings = (Finding("ids used more than once", len(groups), "rows", num=len(named)),)
    places = places_of([[named[i].place for i in g] for g in groups])
    if groups:
        return Check(
            NAME, TITLE, Verdict.FAIL, f"{len(groups)} ids name more than one pair", findings, places
        )
    return Check(NAME, TITLE, Verdict.PASS, f"{len(named)} ids, all different", findings)
