"""The gate: what must be known of a version before it answers callers. Pure; `evidence.py` is all it sees."""

from collections.abc import Callable, Sequence

from guerdon_service.core.errors import GateRefused
from guerdon_service.core.registry import GateCheck
from guerdon_service.registry.checks import (
    calibration,
    comparison,
    evaluation,
    identity,
    latency,
    length,
    safety,
    trial,
)
from guerdon_service.registry.evidence import Evidence
from guerdon_service.registry.policy import GatePolicy

CHECKS: tuple[Callable[[Evidence, GatePolicy], GateCheck], ...] = (
    identity.identity,
    identity.interface,
    identity.certificate,
    evaluation.evaluation,
    evaluation.others,
    evaluation.leakage,
    evaluation.refusals,
    comparison.overall,
    comparison.slices,
    calibration.calibration,
    length.baselines,
    length.correlation,
    safety.safety,
    latency.latency,
    trial.trial,
)
"""In the order in which reasons are told."""


def ask(evidence: Evidence, policy: GatePolicy) -> tuple[GateCheck, ...]:
    """Every check, failed ones included."""
    return tuple(check(evidence, policy) for check in CHECKS)


def failures(checks: Sequence[GateCheck]) -> tuple[GateCheck, ...]:
    """Those that speak against it."""
    return tuple(check for check in checks if check.passed is False)


def refusal(reference: str, failed: Sequence[GateCheck]) -> GateRefused:
    """All reasons at once, and what to do."""
    reasons = "; ".join(f"{check.name}: {check.detail}" for check in failed)
    return GateRefused(
        f"{reference} is not promoted: {reasons}. Mend that, or give a reason to promote it "
        "all the same, which is kept (override_reason; guerdon models promote --override)",
        param="version",
    )
