"""What a call's gRPC context tells, as plain values."""

from typing import Any, NoReturn, Protocol

import grpc

from guerdon_service.core.auth import Caller, Keyring
from guerdon_service.core.call import request_id
from guerdon_service.rpc.http2.head import Metadata


class Context(Protocol):
    """What a handler asks of its call, as of `grpc.aio.ServicerContext`."""

    def invocation_metadata(self) -> Metadata:
        """What the caller sent ahead."""
        ...

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline; None where it gave none."""
        ...

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        """What goes with the status, if that is OK."""
        ...

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()
    ) -> NoReturn:
        """Leave the handler; the call ends with this status."""
        ...

    async def write(self, message: Any) -> None:
        """Send one of several messages."""
        ...


def metadata_text(metadata: Metadata, key: str) -> str | None:
    """The first value of `key`; None when absent."""
    for name, value in metadata:
        if name == key and isinstance(value, str):
            return value
    return None


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
