"""A handler of many requests in one stream, at work at once and answered in their order."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from google.protobuf.message import Message

from guerdon_service.core.errors import GuerdonError
from guerdon_service.rpc.attempt import attempt
from guerdon_service.rpc.context import Context, request_id_of
from guerdon_service.rpc.failure import abort
from guerdon_service.rpc.unary import Unary

MAX_IN_FLIGHT = 64
"""Requests of one stream at work at once. Beyond, none is read, and flow control slows the caller."""


@dataclass(frozen=True, slots=True)
class InOrder:
    """Runs `unary` for each message. The first failure ends the stream: its replies carry no error."""

    unary: Unary

    async def handle(self, requests: AsyncIterator[bytes], context: Context) -> None:
        """Answer to the end, or abort with the first error; a cancelled call cancels its work."""
        request_id = request_id_of(context)
        failed = await self._serve(requests, context, request_id)
        if failed is not None:
            await abort(context, failed, request_id, self.unary.status(failed))
            return
        context.set_trailing_metadata((("x-request-id", request_id),))

    async def _serve(
        self, requests: AsyncIterator[bytes], context: Context, request_id: str
    ) -> GuerdonError | None:
        room = asyncio.Semaphore(MAX_IN_FLIGHT)
        started: asyncio.Queue[tuple[asyncio.Task[Message | GuerdonError], int] | None] = asyncio.Queue()

        async def read() -> None:
            async for data in requests:
                await room.acquire()
                work = self.unary.work(data, context, request_id)
                answer = attempt(work, self.unary.verb, request_id, self.unary.observer)
                started.put_nowait((group.create_task(answer), len(data)))
            started.put_nowait(None)

        async with asyncio.TaskGroup() as group:
            reading = group.create_task(read())
            failed = None
            while failed is None and (begun := await started.get()) is not None:
                task, num_bytes = begun
                reply = await task
                room.release()
                if isinstance(reply, GuerdonError):
                    failed = reply
                else:
                    await context.write(reply)
                    context.answered(num_bytes)
            reading.cancel()
            while not started.empty():
                if (begun := started.get_nowait()) is not None:
                    begun[0].cancel()
        return failed
