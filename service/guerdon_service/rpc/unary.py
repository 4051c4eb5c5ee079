"""A handler of one request and one reply."""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from guerdon_service.core.auth import Scope
from guerdon_service.core.call import Call
from guerdon_service.core.errors import GuerdonError
from guerdon_service.core.reading import Reading
from guerdon_service.core.scorer import TransportObserver
from guerdon_service.rpc.attempt import attempt
from guerdon_service.rpc.audit import Auditor
from guerdon_service.rpc.context import Context, call_of, request_id_of, traceparent_of
from guerdon_service.rpc.failure import abort

Answer = Callable[[bytes, Call], Awaitable[Message]]
"""A verb: a message's bytes to its reply; raises only `core.errors`."""


def own_status(error: GuerdonError) -> str:
    """The name of the gRPC status of `error`, by the service's own table."""
    return error.grpc_status


@dataclass(frozen=True, slots=True)
class Unary:
    """Runs `answer` for a caller who has `scope`; None asks for any known key.

    status: name of the gRPC status of an error.
    """

    verb: str
    answer: Answer
    scope: Scope | None
    observer: TransportObserver
    reading: Reading
    status: Callable[[GuerdonError], str] = own_status
    auditor: Auditor | None = None
    """Writes the call down, if it is an administrator's."""

    async def handle(self, data: bytes, context: Context) -> Message | None:
        """Reply, or abort with the error's status; a cancelled call cancels the work."""
        request_id = request_id_of(context)
        attempted = self._attempted(data, context, request_id)
        if self.auditor is None:
            reply = await attempted
        else:
            reply = await self._recorded(self.auditor, attempted, data, context, request_id)
        if isinstance(reply, GuerdonError):
            await abort(context, reply, request_id, self.status(reply))
            return None
        context.set_trailing_metadata((("x-request-id", request_id),))
        return reply

    async def work(self, data: bytes, context: Context, request_id: str) -> Message:
        """What `handle` replies.

        Raises:
            GuerdonError: what it aborts with.
        """
        if self.scope is not None:
            context.caller.require(self.scope)
        with self.reading.request(context.caller.tenant, self.scope):
            return await self.answer(data, call_of(context, request_id))

    def _attempted(
        self, data: bytes, context: Context, request_id: str
    ) -> Coroutine[Any, Any, Message | GuerdonError]:
        work = self.work(data, context, request_id)
        return attempt(work, self.verb, request_id, self.observer, traceparent_of(context))

    async def _recorded(
        self,
        auditor: Auditor,
        attempted: Awaitable[Message | GuerdonError],
        data: bytes,
        context: Context,
        request_id: str,
    ) -> Message | GuerdonError:
        outcome = "cancelled"
        try:
            reply = await attempted
            outcome = reply.code if isinstance(reply, GuerdonError) else "ok"
            return reply
        finally:
            await auditor.record(self.verb, data, context.caller.tenant, request_id, outcome)
