"""The same pair with the same label twice."""

from guerdon_training.audit.check import Check, Finding, not_applicable, verdict_by_share
from guerdon_training.audit.records import Records
from guerdon_training.audit.repeated import groups_of, places_of

NAME, TITLE = "exact_duplicates", "Exact duplicates"

FAIL_ABOVE = 0.01
"""Share of rows that repeat another."""


def check_exact_duplicates(records: Records) -> Check:
    """Pairs equal but for case and white space. Two annotators on one pair are no duplicate."""
    if not records.pairs:
        return not_applicable(NAME, TITLE, "no pairs in these files")
    groups = groups_of((k, p.annotator) for k, p in zip(records.pair_keys, records.pairs, strict=True))
    num_extra = sum(len(g) - 1 for g in groups)
    num = len(records.pairs)
    verdict = verdict_by_share(num_extra, num, FAIL_ABOVE)
    findings = (Finding("rows that repeat an earlier one", num_extra, "rows", num=num),)
    places = places_of([[records.pairs[i].place for i in g] for g in groups])
    return Check(NAME, TITLE, verdict, f"{num_extra} of {num} rows repeat an earlier one", findings, places)
