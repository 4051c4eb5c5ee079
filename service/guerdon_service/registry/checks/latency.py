"""Does it answer as fast?"""

from guerdon_service.core.registry import GateCheck
from guerdon_service.registry.evidence import NO_INCUMBENT, Evidence, not_asked
from guerdon_service.registry.policy import GatePolicy


def latency(evidence: Evidence, policy: GatePolicy) -> GateCheck:
    """Its median on a probe is within a ratio of the incumbent's, both measured in one run."""
    found = evidence.latency
    if found is None:
        return not_asked("latency", NO_INCUMBENT if evidence.incumbent is None else "it was not measured")
    ratio = found.candidate_s / found.incumbent_s
    is_noise = found.candidate_s - found.incumbent_s <= policy.latency_slack_s
    return GateCheck(
        "latency",
        is_noise or ratio <= policy.max_latency_ratio,
        f"median {found.candidate_s * 1e3:.1f} ms, the incumbent's {found.incumbent_s * 1e3:.1f} ms: "
        f"{ratio:.2f} times, {policy.max_latency_ratio:g} is allowed",
    )
