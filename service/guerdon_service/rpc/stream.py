"""ScoreStream: many requests of one stream at work at once, each answered under its id."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_service.core.auth import Scope
from guerdon_service.core.errors import GuerdonError, InvalidInput
from guerdon_service.core.reading import Reading
from guerdon_service.core.scorer import TransportObserver
from guerdon_service.rpc.attempt import attempt
from guerdon_service.rpc.context import Context, call_of, request_id_of
from guerdon_service.rpc.decode import parse
from guerdon_service.rpc.failure import abort
from guerdon_service.rpc.render import render_error
from guerdon_service.rpc.verbs import Verbs

MAX_IN_FLIGHT = 64
"""Requests of one stream at work at once. Beyond, none is read, and flow control slows the caller."""
PLACE_BYTES = 256 * 1024
"""A request takes one more of these places for each so many bytes, inflated: those of one stream hold 16 MiB
together, or are one."""


@dataclass(frozen=True, slots=True)
class ScoreStream:
    """A bad request is answered with its error and the stream goes on.

    A message that cannot be parsed has no readable id: its error carries an empty one. After the caller
    has closed its half, what was read is still answered; a cancelled stream cancels its work.
    """

    verbs: Verbs
    observer: TransportObserver
    reading: Reading

    async def handle(self, requests: AsyncIterator[bytes], context: Context) -> None:
        """Read until the caller is done, answer in order of completion."""
        request_id = request_id_of(context)
        try:
            context.caller.require(Scope.SCORE)
        except GuerdonError as error:
            await abort(context, error, request_id)
            return
        await self._serve(requests, context, request_id)
        context.set_trailing_metadata((("x-request-id", request_id),))

    async def _serve(self, requests: AsyncIterator[bytes], context: Context, request_id: str) -> None:
        room = asyncio.Semaphore(MAX_IN_FLIGHT)
        writing = asyncio.Lock()  # gRPC takes one message at a time

        async def answer(data: bytes, num_places: int) -> None:
            reply = await self._answer(data, context, request_id)
            async with writing:
                await context.write(reply)
            context.answered(len(data))
            for _ in range(num_places):
                room.release()

        async with asyncio.TaskGroup() as group:
            async for data in requests:
                num_places = min(MAX_IN_FLIGHT, 1 + len(data) // PLACE_BYTES)
                for _ in range(num_places):
                    await room.acquire()
                group.create_task(answer(data, num_places))

    async def _answer(self, data: bytes, context: Context, request_id: str) -> pb.ScoreStreamResponse:
        try:
            message = parse(pb.ScoreStreamRequest, data)
        except InvalidInput as error:
            return pb.ScoreStreamResponse(id="", error=render_error(error))
        work = self._score(message, context, request_id)
        reply = await attempt(work, "score_stream", request_id, self.observer)
        if isinstance(reply, GuerdonError):
            return pb.ScoreStreamResponse(id=message.id, error=render_error(reply))
        return pb.ScoreStreamResponse(id=message.id, response=reply)

    async def _score(
        self, message: pb.ScoreStreamRequest, context: Context, request_id: str
    ) -> pb.ScoreResponse:
        with self.reading.request(context.caller.tenant, Scope.SCORE):
            return await self.verbs.score_message(message.request, call_of(context, request_id))
