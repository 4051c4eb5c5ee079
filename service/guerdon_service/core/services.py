"""Everything that a transport may ask for, as one value."""

from dataclasses import dataclass

from guerdon_service.core.audit import AuditLog
from guerdon_service.core.best_of_n import BestOfN
from guerdon_service.core.evaluation import Evaluator
from guerdon_service.core.feedback import FeedbackTaker
from guerdon_service.core.inspection import Inspector
from guerdon_service.core.policy_evaluation import PolicyEvaluator
from guerdon_service.core.registry import Registrar
from guerdon_service.core.scorer import Scorer


@dataclass(frozen=True, slots=True)
class Services:
    """The domain layer's faces, one per family of verbs."""

    scorer: Scorer
    best_of_n: BestOfN
    evaluator: Evaluator
    registrar: Registrar
    feedback: FeedbackTaker
    policy_evaluator: PolicyEvaluator
    audit: AuditLog
    inspector: Inspector
