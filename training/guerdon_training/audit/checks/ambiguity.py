"""Items on which the annotators did not come to a majority."""

from guerdon_training.audit.check import Check, Finding, Verdict, not_applicable
from guerdon_training.audit.rated import rated_groups
from guerdon_training.audit.records import Records
from guerdon_training.audit.repeated import MAX_PLACES

NAME, TITLE = "ambiguity", "Ambiguous items"

MIN_VOTES = 3
WARN_ABOVE = 0.10
"""Share of items without a majority label."""


def check_ambiguity(records: Records) -> Check:
    """Items with three or more categorical labels, none of which has more than half of the votes."""
    places = {(j.group, j.item): str(j.place) for j in reversed(records.judgements)}
    findings: list[Finding] = []
    listed: list[str] = []
    num_split = num_items = 0
    for rated in rated_groups(records.judgements):
        total = rated.num_labels
        if isinstance(rated.labels[0], float) or not (total >= MIN_VOTES).any():
            continue
        split = (total >= MIN_VOTES) & (rated.counts.max(axis=1) <= total / 2)
        num = int((total >= MIN_VOTES).sum())
        findings.append(Finding("items without a majority", int(split.sum()), "rows", rated.group, num=num))
        listed += [places[rated.group, rated.item_names[i]] for i in split.nonzero()[0]]
        num_split, num_items = num_split + int(split.sum()), num_items + num
    if not findings:
        return not_applicable(NAME, TITLE, f"no item has {MIN_VOTES} categorical labels")
    verdict = Verdict.WARN if num_split > WARN_ABOVE * num_items else Verdict.PASS
    reason = f"{num_split} of {num_items} items have no majority label"
    return Check(NAME, TITLE, verdict, reason, tuple(findings), tuple(listed[:MAX_PLACES]))
