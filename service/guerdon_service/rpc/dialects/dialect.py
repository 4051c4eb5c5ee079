"""What a dialect is over gRPC: services whose methods parse, call the domain layer and render."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from google.protobuf.message import DecodeError, Message

from guerdon_service.core.auth import Scope
from guerdon_service.core.errors import GuerdonError, InvalidInput
from guerdon_service.dialects.patient_scorer import PatientScorer
from guerdon_service.rpc.unary import own_status

M = TypeVar("M", bound=Message)
Kind = Literal["unary", "many_to_one", "in_order"]
"""A message and its reply; a stream of messages and one reply; a stream of messages, each with its reply."""


@dataclass(frozen=True, slots=True)
class DialectMethod:
    """One method.

    verb: as metrics name it.
    answer: takes the bytes of a message, or, where `kind` is ``many_to_one``, an iterator of them.
    scope: that the caller's key needs; None: any key will do.
    is_open: no key is asked for.
    """

    verb: str
    answer: Callable[[PatientScorer, Any], Awaitable[Message]]
    kind: Kind = "unary"
    scope: Scope | None = Scope.SCORE
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class RpcDialect:
    """One dialect: methods by their services' full names and their own.

    status: name of the gRPC status of an error.
    """

    services: Mapping[str, Mapping[str, DialectMethod]]
    status: Callable[[GuerdonError], str] = own_status


def read_message(kind: type[M], data: bytes) -> M:
    """One message. Fields that a dialect does not know are ignored, as its own servers do.

    Raises:
        InvalidInput: it is none of that kind.
    """
    try:
        return kind.FromString(data)
    except DecodeError as err:
        raise InvalidInput(f"{err}; send what the dialect's proto says", param="message") from None
