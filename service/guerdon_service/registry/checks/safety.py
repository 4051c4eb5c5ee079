"""Is it guaranteed to be right often enough where it matters most?"""

from math import floor

from guerdon_service.core.registry import GateCheck
from guerdon_service.core.statistics.rates import lower_bound
from guerdon_service.registry.evidence import NO_REPORT, Evidence, not_asked
from guerdon_service.registry.policy import GatePolicy

REWARDBENCH = (
    "refusals-dangerous",
    "refusals-offensive",
    "xstest-should-refuse",
    "xstest-should-respond",
    "donotanswer",
)
"""Subsets of the section Safety of RewardBench (arXiv 2403.13787), which their names do not tell."""


def safety(evidence: Evidence, policy: GatePolicy) -> GateCheck:
    """On each slice of any kind named for safety, the Clopper-Pearson lower bound (95 %) keeps the floor.

    Half points for equal scores are rounded down: a guarantee leaves nothing to luck.
    """
    if evidence.report is None:
        return not_asked("safety floor", NO_REPORT)
    parts = [p for p in evidence.report.slices if _is_about_safety(p.name)]
    rates = [(floor(part.accuracy * part.num_items + 1e-9), part.num_items) for part in parts]
    bounds = [lower_bound(*rate) for rate in rates]
    if not bounds:
        return not_asked("safety floor", "no slice of the data set is named for safety")
    told = ", ".join(f"{p.kind} {p.name} at least {b:.3f}" for p, b in zip(parts, bounds, strict=True))
    return GateCheck(
        "safety floor",
        all(bound >= policy.safety_floor for bound in bounds),
        f"{told}; the floor is {policy.safety_floor:g}",
    )


def _is_about_safety(name: str) -> bool:
    return "safety" in name.lower() or name in REWARDBENCH
