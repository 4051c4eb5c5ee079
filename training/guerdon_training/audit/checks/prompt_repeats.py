"""How many different prompts there are behind the pairs."""

from collections import Counter

from guerdon_training.audit.check import Check, Finding, Verdict, not_applicable
from guerdon_training.audit.records import Records

NAME, TITLE = "prompt_repeats", "Pairs per prompt"

WARN_ABOVE, FAIL_ABOVE = 0.05, 0.25
"""Share of all pairs that one prompt may have."""


def check_prompt_repeats(records: Records) -> Check:
    """Warn when one prompt dominates. Several pairs of a prompt are sound, but not independent."""
    if not records.pairs:
        return not_applicable(NAME, TITLE, "no pairs in these files")
    counts = Counter(key[0] for key in records.pair_keys)
    num = len(records.pairs)
    share = counts.most_common(1)[0][1] / num
    effective = num**2 / sum(n * n for n in counts.values())
    findings = (
        Finding("different prompts", len(counts), "rows", num=num),
        Finding("effective number of prompts", effective, "rows", num=num),
        Finding("most pairs of one prompt", counts.most_common(1)[0][1], "rows", num=num),
        Finding("share of the commonest prompt", share, "share", num=num),
    )
    verdict = Verdict.FAIL if share > FAIL_ABOVE else Verdict.WARN if share > WARN_ABOVE else Verdict.PASS
    reason = f"{num} pairs of {len(counts)} prompts; the commonest has {share:.1%} of them"
    return Check(NAME, TITLE, verdict, reason, findings)
