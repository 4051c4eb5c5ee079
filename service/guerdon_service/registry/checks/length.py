"""Does it judge more than length?"""

from guerdon_service.core.registry import GateCheck
from guerdon_service.registry.evidence import NO_INCUMBENT, NO_REPORT, Evidence, not_asked
from guerdon_service.registry.policy import GatePolicy


def baselines(evidence: Evidence, _: GatePolicy) -> GateCheck:
    """It beats always preferring the longer, or the shorter, response, with the interval above zero."""
    report = evidence.report
    if report is None or report.over_lengths is None:
        return not_asked("baselines", NO_REPORT if report is None else "the report has no pairs for it")
    over = report.over_lengths
    told = f"{over.value:+.3f} [{over.low:+.3f}, {over.high:+.3f}] over the better length rule"
    return GateCheck("baselines", over.low > 0.0, told)


def correlation(evidence: Evidence, policy: GatePolicy) -> GateCheck:
    """Its rewards follow length not noticeably more than the incumbent's, in either direction."""
    report = evidence.comparison
    if report is None:
        why = NO_INCUMBENT if evidence.incumbent is None else NO_REPORT
        return not_asked("length correlation", why)
    ours, theirs = report.length_correlation, report.baseline_length_correlation
    if ours is None or theirs is None:
        return not_asked("length correlation", "the report has no pairs for it")
    rise = abs(ours) - abs(theirs)
    return GateCheck(
        "length correlation",
        rise <= policy.max_length_rise,
        f"{ours:+.3f}, the incumbent's is {theirs:+.3f}; a rise of {policy.max_length_rise:g} is allowed",
    )
