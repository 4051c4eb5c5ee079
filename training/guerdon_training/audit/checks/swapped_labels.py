"""The same two responses to the same prompt, once with each label."""

from collections.abc import Sequence

from guerdon_training.audit.check import Check, Finding, not_applicable, verdict_by_share
from guerdon_training.audit.records import Pair, Records
from guerdon_training.audit.repeated import groups_of, places_of

NAME, TITLE = "swapped_labels", "Swapped labels"

FAIL_ABOVE = 0.01
"""Share of comparisons labelled both ways."""


def check_swapped_labels(records: Records) -> Check:
    """At least one label of such a pair is wrong. Annotators may differ: `agreement` counts those."""
    records = records.preferred
    if not records.pairs:
        return not_applicable(NAME, TITLE, "no pairs in these files")
    keys = records.pair_keys
    groups = groups_of((prompt, *sorted((a, b))) for prompt, a, b in keys)
    swapped = [
        g for g in groups if len({keys[i] for i in g}) > 1 and not _by_many([records.pairs[i] for i in g])
    ]
    num = len(records.pairs)
    verdict = verdict_by_share(len(swapped), num, FAIL_ABOVE)
    findings = (Finding("comparisons labelled both ways", len(swapped), "rows", num=num),)
    places = places_of([[records.pairs[i].place for i in g] for g in swapped])
    return Check(NAME, TITLE, verdict, f"{len(swapped)} comparisons carry both labels", findings, places)


def _by_many(pairs: Sequence[Pair]) -> bool:
    """Whether each row is another annotator's."""
    annotators = [p.annotator for p in pairs]
    return None not in annotators and len(set(annotators)) == len(annotators)
