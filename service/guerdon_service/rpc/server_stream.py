"""A handler of one request and a stream of replies."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from google.protobuf.message import Message

from guerdon_service.core.auth import Scope
from guerdon_service.core.call import Call
from guerdon_service.core.errors import GuerdonError
from guerdon_service.core.reading import Reading
from guerdon_service.core.scorer import TransportObserver
from guerdon_service.core.streams import closed_after
from guerdon_service.rpc.attempt import attempt
from guerdon_service.rpc.context import Context, call_of, request_id_of, traceparent_of
from guerdon_service.rpc.failure import abort


@dataclass(frozen=True, slots=True)
class ServerStream:
    """Runs `answer` and sends each message as it comes.

    Args:
        scope: what the caller of this message needs; None asks for any known key.
    """

    verb: str
    answer: Callable[[bytes, Call], AsyncIterator[Message]]
    scope: Callable[[bytes], Scope | None]
    observer: TransportObserver
    reading: Reading

    async def handle(self, data: bytes, context: Context) -> None:
        """Send to the end, or abort with the error's status; a cancelled call ends the work."""
        request_id = request_id_of(context)
        work = self._send(data, context, request_id)
        failed = await attempt(work, self.verb, request_id, self.observer, traceparent_of(context))
        if failed is not None:
            await abort(context, failed, request_id)
            return
        context.set_trailing_metadata((("x-request-id", request_id),))

    async def _send(self, data: bytes, context: Context, request_id: str) -> GuerdonError | None:
        if (scope := self.scope(data)) is not None:
            context.caller.require(scope)
        with self.reading.request(context.caller.tenant, scope):
            async with closed_after(self.answer(data, call_of(context, request_id))) as messages:
                async for message in messages:
                    await context.write(message)
        return None
