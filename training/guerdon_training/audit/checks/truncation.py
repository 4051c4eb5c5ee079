"""Pairs that a model's context makes equal."""

from collections.abc import Hashable, Sequence

from guerdon_training.audit.check import Check, Finding, Verdict, not_applicable
from guerdon_training.audit.records import Budget, Pair, Records
from guerdon_training.audit.repeated import MAX_PLACES

NAME, TITLE = "truncation", "Pairs equal after truncation"

FAIL_ABOVE = 0.01
"""Share of pairs that carry no signal once cut."""

WARN_ABOVE = 0.05
"""Share of pairs lost because a response alone is over the limit."""


def check_truncation(records: Records) -> Check:
    """Cut from the left, as the service does, which keeps the response, and from the right."""
    if not records.pairs:
        return not_applicable(NAME, TITLE, "no pairs in these files")
    budget, num = records.budget, len(records.pairs)
    cut = [_cut(p, budget) for p in records.pairs]
    left, right, long = (sum(c[i] for c in cut) for i in range(3))
    findings = (
        Finding("equal after a cut from the left", left, "rows", num=num),
        Finding("equal after a cut from the right", right, "rows", num=num),
        Finding("a response alone is over the limit", long, "rows", num=num),
    )
    places = [str(p.place) for p, c in zip(records.pairs, cut, strict=True) if c[0] or c[1]]
    verdict = Verdict.PASS
    if max(left, right) > FAIL_ABOVE * num:
        verdict = Verdict.FAIL if left > FAIL_ABOVE * num else Verdict.WARN
    elif left or right or long > WARN_ABOVE * num:
        verdict = Verdict.WARN
    reason = f"at {budget.limit} {budget.unit}: {left} equal when cut from the left, {right} from the right"
    return Check(NAME, TITLE, verdict, reason, findings, tuple(places[:MAX_PLACES]))


def _cut(pair: Pair, budget: Budget) -> tuple[bool, bool, bool]:
    """Whether the pair is equal when cut from the left, when cut from the right; a response does not fit."""
    if pair.chosen == pair.rejected:
        return False, False, False  # equal before any cut
    limit = budget.limit
    prompt = budget.split("\n".join(m.content for m in pair.prompt) + "\n")
    chosen, rejected = budget.split(pair.chosen), budget.split(pair.rejected)
    room = max(0, limit - len(prompt))
    right = _same(chosen[:room], rejected[:room])
    left = min(len(chosen), len(rejected)) >= limit and _same(chosen[-limit:], rejected[-limit:])
    return left, right, max(len(chosen), len(rejected)) > limit


def _same(a: Sequence[Hashable], b: Sequence[Hashable]) -> bool:
    return len(a) == len(b) and all(x == y for x, y in zip(a, b, strict=True))
