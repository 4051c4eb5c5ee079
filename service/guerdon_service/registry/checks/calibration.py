"""Are its probabilities right?"""

from guerdon_service.core.registry import GateCheck
from guerdon_service.registry.evidence import NO_REPORT, Evidence, not_asked
from guerdon_service.registry.policy import GatePolicy

UNSURE = "chance may have made it, for its interval holds less; evaluate on more pairs, and where it stays "
REMEDY = "guerdon calibrate writes a calibrated version, from pairs that this evaluation does not hold"


def calibration(evidence: Evidence, policy: GatePolicy) -> GateCheck:
    """The expected calibration error is within bounds."""
    report = evidence.report
    if report is None or report.ece is None:
        return not_asked("calibration", NO_REPORT if report is None else "the report has no pairs for it")
    told = f"ECE {report.ece.value:.3f} [{report.ece.low:.3f}, {report.ece.high:.3f}]"
    bound = f"at most {policy.max_ece:g} is allowed"
    if report.ece.value <= policy.max_ece:
        return GateCheck("calibration", True, f"{told}, {bound}")
    unsure = UNSURE if report.ece.low <= policy.max_ece else ""
    return GateCheck("calibration", False, f"{told}, {bound}: {unsure}{REMEDY}")
