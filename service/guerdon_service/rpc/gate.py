"""Authentication in front of every gRPC method but health."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from guerdon_service.core.auth import Keyring
from guerdon_service.core.errors import Unauthenticated
from guerdon_service.rpc.context import Context, metadata_text, request_id_of
from guerdon_service.rpc.failure import abort

OPEN_PREFIX = "/grpc.health.v1.Health/"
"""All that an unknown caller may ask."""


_Interceptor: Any = grpc.aio.ServerInterceptor  # generic in some of its stubs only


class Gate(_Interceptor):
    """Refuses callers without a known key before any handler, reflection's included, is found.

    Args:
        open_methods: paths that an unknown caller may ask besides `OPEN_PREFIX`.
    """

    def __init__(self, auth: Keyring, open_methods: frozenset[str] = frozenset()) -> None:
        self._auth = auth
        self._open_methods = open_methods

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The method's own handler, or one that refuses."""
        details = handler_call_details
        if not (details.method.startswith(OPEN_PREFIX) or details.method in self._open_methods):
            try:
                self._auth.authenticate(metadata_text(details.invocation_metadata, "authorization"))
            except Unauthenticated as error:
                return _refuse(error)
        return await continuation(details)


def _refuse(error: Unauthenticated) -> Any:
    async def refuse(requests: AsyncIterator[bytes], context: Context) -> None:
        await abort(context, error, request_id_of(context))

    # A stream handler refuses at once, whatever the method's kind; a unary one would wait for a message.
    return grpc.stream_stream_rpc_method_handler(refuse)
