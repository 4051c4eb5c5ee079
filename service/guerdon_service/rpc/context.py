"""What a call's gRPC context tells, as plain values."""

from typing import Any, NoReturn, Protocol

import grpc

from guerdon_service.core.auth import Caller
from guerdon_service.core.call import Call, request_id
from guerdon_service.core.errors import DeadlineExceeded
from guerdon_service.rpc.http2.head import Metadata


class Context(Protocol):
    """What a handler asks of its call: who calls, and the rest as of `grpc.aio.ServicerContext`."""

    caller: Caller

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

    def answered(self, num_bytes: int) -> None:
        """Of a stream's messages, so many bytes are held no more."""
        ...


def metadata_text(metadata: Metadata, key: str) -> str | None:
    """The first value of `key`; None when absent."""
    for name, value in metadata:
        if name == key and isinstance(value, str):
            return value
    return None


def call_of(context: Context, request_id: str) -> Call:
    """What the domain layer is told of a call.

    Raises:
        DeadlineExceeded: no time is left.
    """
    caller, remaining_s = context.caller, context.time_remaining()
    if remaining_s == 0.0:
        raise DeadlineExceeded("the deadline passed before the work began; allow more")
    return Call(caller.tenant, request_id, remaining_s, is_admin=caller.is_admin)


def request_id_of(context: Context) -> str:
    """The ``x-request-id`` that the caller chose, or a new one."""
    return request_id(metadata_text(context.invocation_metadata(), "x-request-id"))


def traceparent_of(context: Context) -> str | None:
    """The caller's place in a trace (W3C Trace Context), if it has one."""
    return metadata_text(context.invocation_metadata(), "traceparent")
