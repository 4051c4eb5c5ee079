"""Dialects by name, and their methods as gRPC takes them."""

from collections.abc import Awaitable, Collection
from typing import Any

import grpc
from google.protobuf.message import Message

from guerdon_service.core.call import Call
from guerdon_service.core.limits import Limits
from guerdon_service.core.reading import Reading
from guerdon_service.core.scorer import Scorer, TransportObserver
from guerdon_service.dialects.patient_scorer import PatientScorer
from guerdon_service.rpc.dialects.dialect import DialectMethod, RpcDialect
from guerdon_service.rpc.dialects.in_order import InOrder
from guerdon_service.rpc.dialects.oip import OIP
from guerdon_service.rpc.dialects.tei import TEI
from guerdon_service.rpc.unary import Unary

RPC_DIALECTS = {"tei": TEI, "oip": OIP}
"""By the names that settings give; the other dialects have no gRPC."""

Handlers = dict[str, dict[str, Any]]
"""Method handlers by their services' full names and their own."""


def mount(
    names: Collection[str], scorer: Scorer, limits: Limits, observer: TransportObserver, reading: Reading
) -> Handlers:
    """Handlers of the dialects `names`; those without gRPC give none."""
    return {
        service: {
            name: _handler(method, dialect, scorer, limits, observer, reading)
            for name, method in methods.items()
        }
        for dialect in _chosen(names)
        for service, methods in dialect.services.items()
    }


def open_methods(names: Collection[str]) -> frozenset[str]:
    """Paths of the methods of the dialects `names` that ask for no key."""
    return frozenset(
        f"/{service}/{name}"
        for dialect in _chosen(names)
        for service, methods in dialect.services.items()
        for name, method in methods.items()
        if method.is_open
    )


def _chosen(names: Collection[str]) -> list[RpcDialect]:
    return [dialect for name, dialect in RPC_DIALECTS.items() if name in names]


def _handler(
    method: DialectMethod,
    dialect: RpcDialect,
    scorer: Scorer,
    limits: Limits,
    observer: TransportObserver,
    reading: Reading,
) -> Any:
    def answer(data: Any, call: Call) -> Awaitable[Message]:
        return method.answer(PatientScorer(scorer, limits, call), data)

    unary = Unary(method.verb, answer, method.scope, observer, reading, dialect.status)
    if method.kind == "in_order":
        return grpc.stream_stream_rpc_method_handler(InOrder(unary).handle, response_serializer=_serialise)
    if method.kind == "many_to_one":
        return grpc.stream_unary_rpc_method_handler(unary.handle, response_serializer=_serialise)
    return grpc.unary_unary_rpc_method_handler(unary.handle, response_serializer=_serialise)


def _serialise(message: Message) -> bytes:
    return message.SerializeToString()
