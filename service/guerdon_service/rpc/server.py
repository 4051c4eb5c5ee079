"""The gRPC server."""

from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from guerdon_protos.v1 import guerdon_pb2
from guerdon_service.core.auth import Keyring, Scope
from guerdon_service.core.limits import Limits
from guerdon_service.core.scorer import Scorer, TransportObserver
from guerdon_service.rpc.gate import Gate
from guerdon_service.rpc.health import Health
from guerdon_service.rpc.stream import ScoreStream
from guerdon_service.rpc.unary import Unary
from guerdon_service.rpc.verbs import Verbs

SERVICE = guerdon_pb2.DESCRIPTOR.services_by_name["RewardService"].full_name
HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name


def create_server(
    service: Scorer, *, auth: Keyring, limits: Limits, observer: TransportObserver, address: str
) -> tuple[grpc.aio.Server, int]:
    """Build the server and bind `address` (``host:port``, port 0 is any free one); the caller starts it.

    A message over `limits.max_body_bytes` is refused by gRPC itself with RESOURCE_EXHAUSTED, which
    carries no ``guerdon-error-code``, and ends its stream.

    Returns:
        The server and the port that it is bound to.

    Raises:
        RuntimeError: the address can't be bound.
    """
    server = grpc.aio.server(
        interceptors=(Gate(auth),),
        options=(("grpc.max_receive_message_length", limits.max_body_bytes), ("grpc.so_reuseport", 0)),
    )
    handlers = _handlers(Verbs(service), auth, observer)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    health_pb2_grpc.add_HealthServicer_to_server(Health(service, frozenset({"", SERVICE})), server)
    reflection.enable_server_reflection((SERVICE, HEALTH, reflection.SERVICE_NAME), server)
    return server, server.add_insecure_port(address)


def _handlers(verbs: Verbs, auth: Keyring, observer: TransportObserver) -> dict[str, Any]:
    unary = {
        "Score": Unary("score", verbs.score, Scope.SCORE, auth, observer),
        "Compare": Unary("compare", verbs.compare, Scope.SCORE, auth, observer),
        "Rank": Unary("rank", verbs.rank, Scope.SCORE, auth, observer),
        "ListModels": Unary("list_models", verbs.list_models, None, auth, observer),
    }
    handlers: dict[str, Any] = {
        name: grpc.unary_unary_rpc_method_handler(handler.handle, response_serializer=_serialise)
        for name, handler in unary.items()
    }
    handlers["ScoreStream"] = grpc.stream_stream_rpc_method_handler(
        ScoreStream(verbs, auth, observer).handle, response_serializer=_serialise
    )
    return handlers


def _serialise(message: Message) -> bytes:
    return message.SerializeToString()
