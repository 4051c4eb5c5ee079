"""What did live traffic say of it?"""

from guerdon_service.core.registry import GateCheck
from guerdon_service.registry.evidence import Evidence
from guerdon_service.registry.policy import GatePolicy


def trial(evidence: Evidence, _: GatePolicy) -> GateCheck:
    """It is no candidate that judgements on live traffic have stopped."""
    if evidence.stopped is not None:
        return GateCheck("trial", False, f"it was stopped as the candidate: {evidence.stopped}")
    return GateCheck("trial", True, "it has not been stopped as the candidate")
