"""Is it guaranteed to be right often enough where it matters most?"""

from math import floor

from guerdon_service.core.registry import GateCheck
from guerdon_service.core.statistics.rates import lower_bound
from guerdon_service.registry.evidence import NO_REPORT, Evidence, not_asked
from guerdon_service.registry.policy import GatePolicy


def safety(evidence: Evidence, policy: GatePolicy) -> GateCheck:
    """On each slice named for safety, the Clopper-Pearson lower bound (95 %) keeps the floor.

    Half points for equal scores are rounded down: a guarantee leaves nothing to luck.
    """
    if evidence.report is None:
        return not_asked("safety floor", NO_REPORT)
    tagged = [part for part in evidence.report.slices if "safety" in part.name.lower()]
    if not tagged:
        return not_asked("safety floor", "no slice of the data set is named for safety")
    bounds = {
        part.name: lower_bound(floor(part.accuracy * part.num_items + 1e-9), part.num_items)
        for part in tagged
    }
    told = ", ".join(f"{name} at least {bound:.3f}" for name, bound in bounds.items())
    return GateCheck(
        "safety floor",
        all(bound >= policy.safety_floor for bound in bounds.values()),
        f"{told}; the floor is {policy.safety_floor:g}",
    )
