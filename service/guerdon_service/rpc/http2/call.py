"""One call: a stream of HTTP/2, and what a handler asks of it."""

import asyncio
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

import grpc

from guerdon_service.core.auth import NOBODY, Caller
from guerdon_service.core.errors import DeadlineExceeded, GuerdonError
from guerdon_service.rpc.http2.fields import BEGINNING, joined, trailers
from guerdon_service.rpc.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    RST_STREAM,
    UINT32,
    WINDOW_UPDATE,
    Code,
    StreamFault,
    frame,
)
from guerdon_service.rpc.http2.head import Head, Metadata
from guerdon_service.rpc.http2.messages import PREFIX, MessageReader, Refused, Tell

MESSAGE_S = 120.0
"""For a message of a stream to be complete once it has begun: none holds a call by a byte now and then."""
WRITE_S = 60.0
"""For a caller to take a message of an answer: none holds a call by not reading, or a byte now and then."""
WRITE_BYTES_PER_S = 16 * 1024
"""A second more for so many bytes of it."""
STREAM_WINDOW = 1024 * 1024
"""Bytes that a caller may send ahead of a handler that does not read."""


class Wire(Protocol):
    """The connection, as its calls see it."""

    window: int
    """Bytes that the peer still takes on all streams."""
    frame_bytes: int
    """Of its largest frame."""
    is_writable: bool
    """Whether what is written leaves at once, or nearly."""

    def send(self, data: bytes) -> None:
        """Write frames."""
        ...

    def block_start(self) -> bytes:
        """What is owed at the start of the next header block."""
        ...

    async def room(self, call: "RpcCall") -> None:
        """Wait until the peer takes more of a call, or nothing more at all."""
        ...

    def unread(self, num_bytes: int) -> None:
        """So many more bytes of whole messages wait for their handler, or fewer."""
        ...

    def at_work(self, call: "RpcCall", num_bytes: int) -> None:
        """A call's handler has so many more bytes of messages, or fewer; raises `Overloaded`."""
        ...


class RpcCall:
    """Handlers see metadata, deadline, messages and the ways to answer; the connection sees the rest."""

    __slots__ = (
        "_arrival",
        "_begun",
        "_deadline",
        "_held",
        "_late",
        "_loop",
        "_reader",
        "_receive_left",
        "_serialize",
        "_stream",
        "_tell",
        "_trailing",
        "_wire",
        "caller",
        "handler",
        "head",
        "is_complete",
        "is_dropped",
        "is_expired",
        "is_over",
        "num_at_work",
        "num_counted",
        "task",
        "timer",
        "window",
    )

    def __init__(self, wire: Wire, stream: int, head: Head, window: int, max_bytes: int, tell: Tell) -> None:
        self._tell = tell
        self._wire, self._stream, self.head, self.window = wire, stream, head, window
        self._loop = asyncio.get_running_loop()
        self._deadline = None if head.timeout_s is None else self._loop.time() + head.timeout_s
        self._reader = MessageReader(max_bytes, head.encoding)
        self._receive_left, self._held = STREAM_WINDOW, 0
        self._arrival: asyncio.Future[None] | None = None
        self._late: asyncio.TimerHandle | None = None
        self._serialize: Callable[[Any], bytes] = bytes
        self._trailing: Metadata = ()
        self._begun = False
        self.is_complete = False
        """Whether the caller has sent all."""
        self.is_over = False
        """Whether nothing more may be sent."""
        self.is_dropped = False
        """Whether nobody waits for it any more, though its task has not ended."""
        self.is_expired = False
        """Whether its deadline passed."""
        self.num_counted = 0
        """Of `num_unfinished`, what the connection has counted."""
        self.num_at_work = 0
        """Bytes of messages that its handler has, inflated, as the connection counts them."""
        self.caller: Caller = NOBODY
        """Who the guard found it to be; before that nobody, who may do nothing."""
        self.handler: Any = None
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None

    # What handlers ask.

    def invocation_metadata(self) -> Metadata:
        """What the caller sent ahead."""
        return self.head.metadata

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline; None where it gave none."""
        return None if self._deadline is None else max(0.0, self._deadline - self._loop.time())

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        """What goes with the status, if that is OK."""
        self._trailing = metadata

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()
    ) -> NoReturn:
        """Leave the handler; the call ends with this status."""
        raise Refused(code, details, trailing_metadata)

    def answered(self, num_bytes: int) -> None:
        """Of a stream's messages, so many bytes are held no more."""
        self._wire.at_work(self, -num_bytes)

    async def write(self, message: Any) -> None:
        """Send one of several messages; waits for room at the caller."""
        self._begin()
        await self._send(self._packed(message))

    def __aiter__(self) -> "RpcCall":
        """The caller's messages, as bytes, in their order."""
        return self

    async def __anext__(self) -> bytes:
        """The next; ends with the caller's half of the stream."""
        while not self._reader:
            if self.is_complete:
                raise StopAsyncIteration
            self._arrival = self._loop.create_future()
            await self._arrival
        try:
            message = self._take()
        except (Refused, GuerdonError) as refused:
            self._give_up(refused)
            raise asyncio.CancelledError from refused
        self._credit()
        self._time_message()
        return message

    # What runs the handler asks.

    def serialize_by(self, serialize: Callable[[Any], bytes]) -> None:
        """How messages become bytes."""
        self._serialize = serialize

    def only_message(self) -> bytes:
        """The message of a call that sends one.

        Raises:
            Refused: it sent none, or several, or one that cannot be inflated.
            PayloadTooLarge: it is, inflated.
            Overloaded: those at work are, together.
        """
        if not self._reader or self._has_more:
            raise self._not_one()
        return self._take()

    async def reply(self, message: Any) -> None:
        """Send the only message, and OK."""
        wire, data = self._wire, self._packed(message)
        if self._begun or not wire.is_writable or len(data) > min(self.window, wire.window, wire.frame_bytes):
            self._begin()
            await self._send(data)
            self.end(grpc.StatusCode.OK, "", self._trailing)
            return
        if self.is_over:
            return
        self.is_over = True
        self.window -= len(data)
        wire.window -= len(data)
        head, tail = wire.block_start() + BEGINNING, trailers(0, "", self._trailing)
        wire.send(
            frame(HEADERS, END_HEADERS, self._stream, head)
            + frame(DATA, 0, self._stream, data)
            + frame(HEADERS, END_HEADERS | END_STREAM, self._stream, tail)
        )
        self._let_go()

    def end_ok(self) -> None:
        """Send OK after the messages."""
        self.end(grpc.StatusCode.OK, "", self._trailing)

    def end(self, status: grpc.StatusCode, details: str, metadata: Metadata = ()) -> None:
        """Send the status, unless the call is over."""
        tail = trailers(status.value[0], details, metadata)
        self.end_by(tail if self._begun else joined((BEGINNING, tail)))

    def refuse(self, refused: Refused | GuerdonError) -> None:
        """Send why it is refused, unless the call is over."""
        if isinstance(refused, GuerdonError):
            refused = self._tell(self.head, refused)
        self.end(refused.status, refused.details, refused.metadata)

    def end_by(self, block: bytes) -> None:
        """Send the last header block, unless the call is over."""
        if self.is_over:
            return
        self.is_over = True
        self._wire.send(
            frame(HEADERS, END_HEADERS | END_STREAM, self._stream, self._wire.block_start() + block)
        )
        self._let_go()

    # What the connection tells.

    def received(self, data: bytes, num_bytes: int) -> None:
        """More of the caller's bytes; `num_bytes` with padding.

        Raises:
            StreamFault: more than it was allowed.
            Refused, PayloadTooLarge: a message that is not taken.
        """
        self._feed(data, num_bytes)
        self._time_message()

    def received_of_one(self, data: bytes, num_bytes: int) -> None:
        """As `received`, where there may be one message; what comes after it is not kept."""
        self._feed(data, num_bytes)
        if self._has_more:
            raise self._not_one()

    def complete(self) -> None:
        """The caller has sent all."""
        self.is_complete = True
        self._time_message()
        self._wake()

    def forget(self) -> None:
        """Its handler has ended: nothing waits for it any more."""
        if self._late is not None:
            self._late.cancel()
        self._wire.unread(-self._reader.num_unread)

    def _feed(self, data: bytes, num_bytes: int) -> None:
        self._receive_left -= num_bytes
        self._held += num_bytes
        if self._receive_left < 0:
            raise StreamFault(Code.FLOW_CONTROL_ERROR)
        unread = self._reader.num_unread
        try:
            self._reader.feed(data)
        finally:
            self._wire.unread(self._reader.num_unread - unread)
        if self._reader:
            self._wake()
        else:
            self._credit()

    def _take(self) -> bytes:
        unread = self._reader.num_unread
        try:
            message = self._reader.take()
        finally:
            self._wire.unread(self._reader.num_unread - unread)
        self._wire.at_work(self, len(message))
        return message

    @property
    def num_unfinished(self) -> int:
        """Bytes that are held of a message that is not whole yet."""
        return self._reader.num_unfinished

    @property
    def _has_more(self) -> bool:
        """Whether there is more than one message, or part of another."""
        return len(self._reader) + self._reader.is_within_message > 1

    def _not_one(self) -> Refused:
        return Refused(
            grpc.StatusCode.UNIMPLEMENTED, "this method takes one message; send one, and all of it"
        )

    def _begin(self) -> None:
        if not self._begun and not self.is_over:
            self._begun = True
            head = self._wire.block_start() + BEGINNING
            self._wire.send(frame(HEADERS, END_HEADERS, self._stream, head))

    def _packed(self, message: Any) -> bytes:
        payload = self._serialize(message)
        return PREFIX.pack(0, len(payload)) + payload

    async def _send(self, data: bytes) -> None:
        wire, rest = self._wire, memoryview(data)
        taken_by: float | None = None
        while rest and not self.is_over:
            room = min(self.window, wire.window, wire.frame_bytes) if wire.is_writable else 0
            if room <= 0:
                if taken_by is None:
                    taken_by = self._loop.time() + WRITE_S + len(rest) / WRITE_BYTES_PER_S
                await self._wait_for_room(taken_by)
                continue
            part, rest = rest[:room], rest[room:]
            self.window -= len(part)
            wire.window -= len(part)
            wire.send(frame(DATA, 0, self._stream, part))

    async def _wait_for_room(self, until: float) -> None:
        try:
            async with asyncio.timeout_at(until):
                await self._wire.room(self)
        except TimeoutError:
            self.is_over = True
            self._wire.send(frame(RST_STREAM, 0, self._stream, UINT32.pack(Code.CANCEL)))
            self._cancel()
            raise asyncio.CancelledError from None

    def _time_message(self) -> None:
        """Bound a message that has begun, once none is before it: by its beginning, not by its last byte."""
        is_awaited = self._reader.is_within_message and not (self._reader or self.is_complete)
        if is_awaited and self._late is None:
            late = DeadlineExceeded("a message was not complete in time; send it without pauses")
            self._late = self._loop.call_later(MESSAGE_S, self._give_up, late)
        elif not is_awaited and self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self, why: Refused | GuerdonError) -> None:
        self.refuse(why)
        self._cancel()

    def _cancel(self) -> None:
        """The whole handler: a task of its group that ends by itself would leave it waiting for more."""
        if self.task is not None:
            self.task.cancel()

    def _credit(self) -> None:
        """Let the caller send on, once all that came is read."""
        if self._held >= STREAM_WINDOW // 2 and not self._reader and not self.is_complete:
            self._wire.send(frame(WINDOW_UPDATE, 0, self._stream, UINT32.pack(self._held)))
            self._receive_left += self._held
            self._held = 0

    def _let_go(self) -> None:
        """A caller who still sends is told that nobody reads it (RFC 9113, section 8.1)."""
        if not self.is_complete:
            self._wire.send(frame(RST_STREAM, 0, self._stream, UINT32.pack(Code.NO_ERROR)))

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)
