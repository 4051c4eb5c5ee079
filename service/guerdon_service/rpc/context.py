"""What a call's gRPC context tells, as plain values."""

from typing import TYPE_CHECKING, Any, TypeAlias

from guerdon_service.core.auth import Caller, Keyring
from guerdon_service.core.call import request_id

if TYPE_CHECKING:
    import grpc.aio

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


def metadata_text(metadata: Any, key: str) -> str | None:
    """The first value of `key`; None when absent."""
    return next((value for name, value in metadata or () if name == key and isinstance(value, str)), None)


def caller_of(context: Context, auth: Keyring) -> Caller:
    """Who calls, by the ``authorization`` metadata.

    Raises:
        Unauthenticated: no known key.
    """
    return auth.authenticate(metadata_text(context.invocation_metadata(), "authorization"))


def request_id_of(context: Context) -> str:
    """The ``x-request-id`` that the caller chose, or a new one."""
    return request_id(metadata_text(context.invocation_metadata(), "x-request-id"))


def traceparent_of(context: Context) -> str | None:
    """The caller's place in a trace (W3C Trace Context), if it has one."""
    return metadata_text(context.invocation_metadata(), "traceparent")
