"""Pairs that differ by a few words."""

from collections import Counter

from guerdon_training.audit.check import Check, Finding, Verdict, not_applicable
from guerdon_training.audit.near import THRESHOLD
from guerdon_training.audit.records import Records
from guerdon_training.audit.repeated import groups_of, places_of

NAME, TITLE = "near_duplicates", "Near-duplicates"

FAIL_ABOVE = 0.10
"""Share of pairs that are near another; higher than for exact ones, since templated tasks look alike."""


def check_near_duplicates(records: Records) -> Check:
    """Prompt, chosen and rejected each near the other pair's (Jaccard of character 5-grams, `THRESHOLD`)."""
    if not records.pairs:
        return not_applicable(NAME, TITLE, "no pairs in these files")
    # One row per comparison: exact repeats, in either order, are other checks' business.
    first = {(p, *sorted((a, b))): i for i, (p, a, b) in reversed(list(enumerate(records.pair_keys)))}
    rows = sorted(first.values())
    near = [_near_key(records, i) for i in rows]
    groups = groups_of(near)
    extra = [rows[i] for g in groups for i in g[1:]]
    labels = set(near)
    num_opposite = sum(1 for p, a, b in labels if a < b and (p, b, a) in labels)
    findings = [
        Finding("pairs near an earlier one", len(extra), "rows", num=len(rows)),
        Finding("near pairs with opposite labels", num_opposite, "rows", num=len(rows)),
    ]
    by_source = Counter(records.pairs[i].source for i in extra)
    findings += [Finding("pairs near an earlier one", n, "rows", f"source={s}") for s, n in by_source.items()]
    places = places_of([[records.pairs[rows[i]].place for i in g] for g in groups])
    verdict = Verdict.PASS
    if extra or num_opposite:
        verdict = Verdict.FAIL if len(extra) > FAIL_ABOVE * len(rows) else Verdict.WARN
    reason = f"{len(extra)} of {len(rows)} pairs are near an earlier one (Jaccard >= {THRESHOLD})"
    return Check(NAME, TITLE, verdict, reason, tuple(findings), places)


def _near_key(records: Records, i: int) -> tuple[int, int, int]:
    prompt, chosen, rejected = records.pair_keys[i]
    responses = records.response_clusters
    return records.prompt_clusters[prompt], responses[chosen], responses[rejected]
