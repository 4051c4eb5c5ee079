"""Errors as gRPC statuses."""

import grpc

from guerdon_service.core.errors import GuerdonError
from guerdon_service.rpc.context import Context
from guerdon_service.rpc.render import readable


async def abort(context: Context, error: GuerdonError, request_id: str) -> None:
    """End the call with the error's status and message.

    Trailing metadata: ``guerdon-error-code``, ``guerdon-error-param`` where a field is to blame,
    ``grpc-retry-pushback-ms`` where a retry can help, and ``x-request-id``. Raises what gRPC raises to
    leave a handler.
    """
    metadata = [("guerdon-error-code", error.code), ("x-request-id", request_id)]
    if error.param is not None:
        metadata.append(("guerdon-error-param", error.param))
    if error.retry_after_ms is not None:
        metadata.append(("grpc-retry-pushback-ms", str(error.retry_after_ms)))
    await context.abort(grpc.StatusCode[error.grpc_status], readable(error.message), tuple(metadata))
