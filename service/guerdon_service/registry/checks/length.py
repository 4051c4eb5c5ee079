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
    """Its rewards are not shown to follow length more than the incumbent's, in either direction.

    It refuses a rise whose interval is above zero and that is itself above what is allowed: simulated, 3.5 %
    of equal models at most, where the rise alone would refuse up to 41 % on 50 pairs.
    """
    report = evidence.comparison
    if report is None:
        why = NO_INCUMBENT if evidence.incumbent is None else NO_REPORT
        return not_asked("length correlation", why)
    rise = report.length_rise
    if rise is None:
        return not_asked("length correlation", "the report has no pairs for it")
    return GateCheck(
        "length correlation",
        rise.low <= 0.0 or rise.value <= policy.max_length_rise,
        f"{rise.value:+.3f} [{rise.low:+.3f}, {rise.high:+.3f}] beside the incumbent's; a rise of "
        f"{policy.max_length_rise:g} is allowed, and what is not shown to be one",
    )
