"""Errors as gRPC statuses."""

import grpc

from guerdon_service.core.errors import GuerdonError
from guerdon_service.rpc.context import Context
from guerdon_service.rpc.http2.messages import Refused
from guerdon_service.rpc.render import render_error


async def abort(context: Context, error: GuerdonError, request_id: str, status: str | None = None) -> None:
    """End the call as `refused` says; raises what leaves a handler."""
    told = refused(error, request_id, status)
    await context.abort(told.status, told.details, told.metadata)


def refused(error: GuerdonError, request_id: str, status: str | None = None) -> Refused:
    """The end of a call with the error's status, or with the name of another, and its message.

    Trailing metadata: ``guerdon-error-bin`` (a serialised `guerdon.v1.Error`), the same for people as
    ``guerdon-error-code`` and ``guerdon-error-param``, ``grpc-retry-pushback-ms`` where a retry can help
    (gRFC A6), and ``x-request-id``.
    """
    told = render_error(error)
    metadata: list[tuple[str, str | bytes]] = [
        ("guerdon-error-bin", told.SerializeToString()),
        ("guerdon-error-code", told.code),
        ("x-request-id", request_id),
    ]
    if error.param is not None:
        metadata.append(("guerdon-error-param", ascii(told.param)[1:-1]))
    if error.retry_after_ms is not None:
        metadata.append(("grpc-retry-pushback-ms", str(error.retry_after_ms)))
    return Refused(grpc.StatusCode[status or error.grpc_status], told.message, tuple(metadata))
