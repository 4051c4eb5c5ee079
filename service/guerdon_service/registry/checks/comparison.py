"""Is it better, or at least not worse, than what it would replace: overall and on every slice?"""

from guerdon_service.core.registry import GateCheck
from guerdon_service.core.statistics.comparison import MIN_PROMPTS
from guerdon_service.registry.evidence import NO_INCUMBENT, Evidence, not_asked
from guerdon_service.registry.policy import GatePolicy
from guerdon_service.registry.report_view import Outcome

_GOOD = ("better", "not worse")
_NO_COMPARISON = "no finished evaluation against the incumbent was given"


def overall(evidence: Evidence, policy: GatePolicy) -> GateCheck:
    """On enough prompts the verdict is ``better`` or ``not worse``, within a margin that the gate allows."""
    report = evidence.comparison
    if report is None or report.whole is None or evidence.evaluation is None:
        return not_asked("non-inferiority", _why_not(evidence))
    margin = evidence.evaluation.query.margin
    if margin > policy.max_margin:
        return GateCheck(
            "non-inferiority", False, f"its margin is {margin:g}, the gate allows {policy.max_margin:g}"
        )
    if report.whole.num_prompts < MIN_PROMPTS:
        few = f"{report.whole.num_prompts} prompts are too few to tell; give at least {MIN_PROMPTS}"
        return GateCheck("non-inferiority", False, few)
    return GateCheck("non-inferiority", report.whole.verdict in _GOOD, _told(report.whole))


def slices(evidence: Evidence, policy: GatePolicy) -> GateCheck:
    """So is the verdict on every slice of enough items and prompts; Holm's correction is in the verdicts.

    A slice of fewer can neither hold a version nor vouch for it.
    """
    report = evidence.comparison
    if report is None:
        return not_asked("slices", _why_not(evidence))
    judged = {name: found for name, found in report.by_slice.items() if found.num_prompts >= MIN_PROMPTS}
    num_few = sum(part.num_prompts < MIN_PROMPTS for part in report.slices)
    few = f"; {num_few} of fewer than {MIN_PROMPTS} prompts are too few to tell" if num_few else ""
    if not judged:
        why = f"the data set has no slices of enough items and {MIN_PROMPTS} prompts"
        return not_asked("slices", why + few)
    good = (*_GOOD, "inconclusive") if policy.allows_inconclusive_slices else _GOOD
    bad = {name: found for name, found in judged.items() if found.verdict not in good}
    told = "; ".join(f"{name}: {_told(found)}" for name, found in bad.items())
    return GateCheck("slices", not bad, (told or f"none of {len(judged)} speaks against it") + few)


def _why_not(evidence: Evidence) -> str:
    return NO_INCUMBENT if evidence.incumbent is None else _NO_COMPARISON


def _told(found: Outcome) -> str:
    delta = found.delta
    return (
        f"{found.verdict}: {delta.value:+.3f} [{delta.low:+.3f}, {delta.high:+.3f}] on {found.num_items} "
        f"items, which can show {found.minimum_detectable_effect:.3f}"
    )
