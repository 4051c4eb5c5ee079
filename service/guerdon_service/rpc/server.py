"""The gRPC server."""

from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from guerdon_protos.v1 import guerdon_pb2
from guerdon_service.core.audit import AuditLog
from guerdon_service.core.auth import Keyring, Scope
from guerdon_service.core.limits import Limits
from guerdon_service.core.reading import Reading
from guerdon_service.core.scorer import TransportObserver
from guerdon_service.core.services import Services
from guerdon_service.rpc.audit import Auditor
from guerdon_service.rpc.best_of_n import BestOfNVerbs
from guerdon_service.rpc.dataset import DatasetVerbs
from guerdon_service.rpc.dialects.mount import mount, open_methods
from guerdon_service.rpc.evaluation import EvaluationVerbs, scope_to_evaluate
from guerdon_service.rpc.feedback import FeedbackVerbs
from guerdon_service.rpc.gate import Gate, tell
from guerdon_service.rpc.health import Health
from guerdon_service.rpc.http2.calls import Bounds
from guerdon_service.rpc.http2.server import Http2Server
from guerdon_service.rpc.policy_evaluation import PolicyEvaluationVerbs
from guerdon_service.rpc.registry import RegistryVerbs
from guerdon_service.rpc.server_stream import ServerStream
from guerdon_service.rpc.stream import ScoreStream
from guerdon_service.rpc.unary import Answer, Unary
from guerdon_service.rpc.verbs import Verbs

SERVICE = guerdon_pb2.DESCRIPTOR.services_by_name["RewardService"].full_name
HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name


def create_server(
    services: Services,
    *,
    auth: Keyring,
    limits: Limits,
    observer: TransportObserver,
    dialects: Sequence[str] = (),
    is_admin: bool = True,
    reading: Reading | None = None,
) -> Http2Server:
    """Build the server; the caller starts it.

    A message over `limits.max_body_bytes` is refused as it arrives, with RESOURCE_EXHAUSTED, and ends its
    stream; calls over their bounds likewise.

    Args:
        is_admin: whether it has the administrators' methods.
    """
    reading = reading or Reading()
    gate = Gate(auth, open_methods(dialects))
    server = Http2Server(
        Bounds(limits.max_body_bytes, limits.max_header_bytes, limits.max_streams, tell, gate.is_open),
        gate,
        max_calls=limits.max_calls,
        max_connections=limits.max_connections,
    )
    methods = {SERVICE: _handlers(services, limits, observer, reading, is_admin=is_admin)}
    methods |= mount(dialects, services.scorer, limits, observer, reading)
    for name, handlers in methods.items():
        server.add_registered_method_handlers(name, handlers)
    # Their generated code is typed for the library's own servers; it asks for no more than ours has.
    to_ours: Any = server
    health_pb2_grpc.add_HealthServicer_to_server(Health(services.scorer, frozenset({"", *methods})), to_ours)
    library: Any = reflection  # part of which its stubs leave out
    described = library.aio.ReflectionServicer((*methods, HEALTH, reflection.SERVICE_NAME))
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(described, to_ours)
    return server


def _handlers(
    services: Services, limits: Limits, observer: TransportObserver, reading: Reading, *, is_admin: bool
) -> dict[str, Any]:
    verbs = Verbs(services.scorer, limits)
    handlers: dict[str, Any] = {
        name: grpc.unary_unary_rpc_method_handler(
            Unary(
                verb, answer, scope, observer, reading, auditor=_auditor(name, scope, services.audit)
            ).handle,
            response_serializer=_serialise,
        )
        for name, (verb, answer, scope) in _unary(services, verbs).items()
        if is_admin or scope is not Scope.ADMIN
    }
    handlers |= {
        name: grpc.unary_stream_rpc_method_handler(
            ServerStream(verb, answer, scope, observer, reading).handle, response_serializer=_serialise
        )
        for name, (verb, answer, scope) in {
            "BestOfN": ("best_of_n", BestOfNVerbs(services.best_of_n).best_of_n, _to_score),
            "EvaluatePolicy": (
                "evaluate_policy",
                PolicyEvaluationVerbs(services.policy_evaluator, limits).evaluate_policy,
                _to_score,
            ),
            "Evaluate": ("evaluate", EvaluationVerbs(services.evaluator).evaluate, scope_to_evaluate),
        }.items()
    }
    handlers["ScoreStream"] = grpc.stream_stream_rpc_method_handler(
        ScoreStream(verbs, observer, reading).handle, response_serializer=_serialise
    )
    return handlers


def _to_score(data: bytes) -> Scope:
    return Scope.SCORE


def _unary(services: Services, verbs: Verbs) -> dict[str, tuple[str, Answer, Scope | None]]:
    registry, evaluations = RegistryVerbs(services.registrar), EvaluationVerbs(services.evaluator)
    feedback = FeedbackVerbs(services.feedback)
    return {
        "Score": ("score", verbs.score, Scope.SCORE),
        "Compare": ("compare", verbs.compare, Scope.SCORE),
        "Rank": ("rank", verbs.rank, Scope.SCORE),
        "ListModels": ("list_models", verbs.list_models, None),
        "ListPolicies": ("list_policies", BestOfNVerbs(services.best_of_n).list_policies, None),
        "AddDataset": ("add_dataset", DatasetVerbs(services.evaluator).add, Scope.ADMIN),
        "CancelEvaluation": ("cancel_evaluation", evaluations.cancel, None),
        "ListEvaluations": ("list_evaluations", evaluations.list, None),
        "GetEvaluationReport": ("get_report", evaluations.report, None),
        "RegisterModel": ("register_model", registry.register, Scope.ADMIN),
        "ListRegisteredModels": ("list_registered_models", registry.models, None),
        "GetModelHistory": ("get_history", registry.history, None),
        "GetModelCard": ("get_card", registry.card, None),
        "PromoteModel": ("promote_model", registry.promote, Scope.ADMIN),
        "RollbackModel": ("rollback_model", registry.rollback, Scope.ADMIN),
        "RemoveAlias": ("remove_alias", registry.remove_alias, Scope.ADMIN),
        "SubmitFeedback": ("submit_feedback", feedback.submit, Scope.SCORE),
        "GetAgreement": ("get_agreement", feedback.agreement, None),
    }


def _auditor(method: str, scope: Scope | None, log: AuditLog) -> Auditor | None:
    if scope is not Scope.ADMIN:
        return None
    service = guerdon_pb2.DESCRIPTOR.services_by_name["RewardService"]
    return Auditor(log, GetMessageClass(service.methods_by_name[method].input_type))


def _serialise(message: Message) -> bytes:
    return message.SerializeToString()
