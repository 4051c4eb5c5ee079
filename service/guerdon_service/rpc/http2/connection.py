"""One connection: frames to calls, calls to frames, and what a peer may not do."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, cast

import grpc

from guerdon_service.rpc.http2 import frames as f
from guerdon_service.rpc.http2.call import STREAM_WINDOW, RpcCall
from guerdon_service.rpc.http2.calm import Calm
from guerdon_service.rpc.http2.fields import EMPTY_TABLE, http_only
from guerdon_service.rpc.http2.frames import Code, ConnectionFault, StreamFault
from guerdon_service.rpc.http2.head import Head, HeadReader
from guerdon_service.rpc.http2.messages import Refused
from guerdon_service.rpc.http2.run import Handler, run

WINDOW = 4 * 1024 * 1024
"""Bytes that a peer may send ahead on all its streams."""
MAX_FRAME_BYTES = 64 * 1024
"""Of one frame that comes in."""
HEAD_SLACK_BYTES = 256 * 1024
"""Metadata that is too long by no more is read, so that its call can be told so."""
HANDSHAKE_S = 30.0
"""For a peer's first bytes, its preface and settings."""
LINGER_S = 1.0
"""For a peer that is hung up on to read why."""
SLACK_BYTES = 256 * 1024
"""What may wait to leave before nothing more is read: who does not read is not served."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one connection may ask.

    max_message_bytes: of one message; max_head_bytes: of one call's metadata; max_streams: calls at work.
    """

    max_message_bytes: int
    max_head_bytes: int
    max_streams: int

    @property
    def most_head_bytes(self) -> int:
        """What costs a peer its connection, where `max_head_bytes` costs it the call."""
        return self.max_head_bytes + HEAD_SLACK_BYTES


class Host(Protocol):
    """The server, as its connections see it."""

    def accept(self, head: Head) -> Handler:
        """The handler of a call; raises `Refused`."""
        ...

    def connected(self, connection: "Connection") -> bool:
        """Whether there is room for one more."""
        ...

    def disconnected(self, connection: "Connection") -> None:
        """It is gone."""
        ...

    def began(self) -> None:
        """A call counts as at work."""
        ...

    def ended(self) -> None:
        """It no longer does."""
        ...


class Connection(asyncio.Protocol):
    """`call.Wire`, and the callbacks of asyncio."""

    def __init__(self, host: Host, bounds: Bounds) -> None:
        self._host, self._bounds = host, bounds
        self._loop = asyncio.get_running_loop()
        self._reader = HeadReader(bounds.most_head_bytes)
        self._calm = Calm(self._loop.time)
        self._calls: dict[int, RpcCall] = {}
        """By stream, until their handlers have ended too: who resets streams in a hurry gains no more."""
        self._rest = b""
        self._has_preface = self._has_settings = False
        self._last_stream = 0
        self._is_leaving = self._is_deaf = False
        self._block: tuple[int, int, bytearray] | None = None
        """Stream, flags and bytes of a header block whose end has not come."""
        self._receive_left, self._uncredited = WINDOW, 0
        self._peer_window = f.DEFAULT_WINDOW
        self._owes_table = False
        self._waiting: list[asyncio.Future[None]] = []
        self.window, self.frame_bytes, self.is_writable = f.DEFAULT_WINDOW, f.DEFAULT_FRAME_BYTES, True

    # Callbacks of asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what is allowed here."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(SLACK_BYTES)
        self._handshake = self._loop.call_later(HANDSHAKE_S, self._late)
        allowed = {
            f.MAX_STREAMS: self._bounds.max_streams,
            f.INITIAL_WINDOW: STREAM_WINDOW,
            f.MAX_FRAME_SIZE: MAX_FRAME_BYTES,
            f.MAX_HEADER_LIST: self._bounds.max_head_bytes,
        }
        more = f.UINT32.pack(WINDOW - f.DEFAULT_WINDOW)
        self.send(f.settings(allowed) + f.frame(f.WINDOW_UPDATE, 0, 0, more))
        if not self._host.connected(self):
            self._hang_up(Code.ENHANCE_YOUR_CALM, "too many connections")

    def data_received(self, data: bytes) -> None:
        """Frames, or parts of them."""
        if self._is_deaf:
            return
        try:
            self._read(self._rest + data if self._rest else data)
        except ConnectionFault as fault:
            self._hang_up(fault.code, fault.reason)

    def connection_lost(self, error: Exception | None) -> None:
        """Nobody waits for the calls under way any more."""
        self._handshake.cancel()
        self._drop_all()
        self._host.disconnected(self)

    def pause_writing(self) -> None:
        """The peer does not read, so that its requests are not read either."""
        self.is_writable = False
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It does again."""
        self.is_writable = True
        if not self._transport.is_closing():
            self._transport.resume_reading()
        self._wake()

    # What its calls ask.

    def send(self, data: bytes) -> None:
        """Write frames, unless the connection is gone."""
        if not (self._is_deaf or self._transport.is_closing()):
            self._transport.write(data)

    def block_start(self) -> bytes:
        """What is owed at the start of the next header block."""
        if not self._owes_table:
            return b""
        self._owes_table = False
        return EMPTY_TABLE

    async def room(self) -> None:
        """Wait until the peer takes more than it did."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(waiter)
        await waiter

    # What the server asks.

    @property
    def has_calls(self) -> bool:
        """Whether a call is at work."""
        return bool(self._calls)

    def leave(self) -> None:
        """Take no more calls, and tell the peer which ones were taken."""
        if not self._is_leaving:
            self._is_leaving = True
            self.send(_goaway(self._last_stream, Code.NO_ERROR, "the service stops"))

    def close(self) -> None:
        """End what is at work, and hang up."""
        for call in self._calls.values():
            if call.task is not None:
                call.task.cancel()
        self._transport.close()

    def abort(self) -> None:
        """Hang up at once."""
        self._transport.abort()

    def _read(self, data: bytes) -> None:
        at, size = 0, len(data)
        if not self._has_preface:
            at = self._preface(data)
        while self._has_preface and size - at >= f.HEAD_BYTES:
            high, low, kind, flags, stream = f.HEAD.unpack_from(data, at)
            end = at + f.HEAD_BYTES + (high << 8 | low)
            if end - at - f.HEAD_BYTES > MAX_FRAME_BYTES:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"a frame is over {MAX_FRAME_BYTES} bytes")
            if end > size:
                break
            self._frame(kind, flags, stream & f.MAX_WINDOW, data[at + f.HEAD_BYTES : end])
            at = end
        self._rest = data[at:] if at < size else b""

    def _preface(self, data: bytes) -> int:
        """Bytes of it that were read: all or none."""
        if not f.PREFACE.startswith(data[: len(f.PREFACE)]):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "this port speaks gRPC over HTTP/2 and nothing else")
        self._has_preface = len(data) >= len(f.PREFACE)
        return len(f.PREFACE) if self._has_preface else 0

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if not self._has_settings and (kind != f.SETTINGS or flags & f.ACK):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        if self._block is not None and kind != f.CONTINUATION:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a header block is interrupted")
        take = _FRAMES.get(kind)
        if take is None:
            self._calm.spend()  # unknown kinds are ignored (RFC 9113, section 4.1)
            return
        try:
            take(self, flags, stream, payload)
        except StreamFault as fault:
            self._reset(stream, fault.code)

    def _on_data(self, flags: int, stream: int, payload: bytes) -> None:
        call = self._calls.get(stream)
        if call is None and (not stream & 1 or stream > self._last_stream):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "DATA on a stream that never began")
        data = f.unpadded(payload, flags)
        self._calm.earn() if data else self._calm.spend()
        self._count_received(len(payload))
        if call is None or call.is_over:
            return
        if call.is_complete:
            raise StreamFault(Code.STREAM_CLOSED)
        try:
            call.received(data, len(payload))
        except Refused as refused:
            call.end(refused.status, refused.details, refused.metadata)
            self._drop(stream, call)
            return
        if flags & f.END_STREAM:
            self._complete(stream, call)

    def _count_received(self, num_bytes: int) -> None:
        self._receive_left -= num_bytes
        if self._receive_left < 0:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "more bytes than the connection's window")
        self._uncredited += num_bytes
        if self._uncredited >= WINDOW // 2:
            self.send(f.frame(f.WINDOW_UPDATE, 0, 0, f.UINT32.pack(self._uncredited)))
            self._receive_left += self._uncredited
            self._uncredited = 0

    def _on_headers(self, flags: int, stream: int, payload: bytes) -> None:
        if not stream & 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "HEADERS on a stream that is not a client's")
        block = f.unpadded(payload, flags)
        if flags & f.HAS_PRIORITY:
            if len(block) < 5:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "HEADERS is too short for its priority")
            block = block[5:]
        if flags & f.END_HEADERS:
            self._headers(stream, flags, block)
        else:
            self._block = stream, flags, bytearray(block)

    def _on_continuation(self, flags: int, stream: int, payload: bytes) -> None:
        if self._block is None or self._block[0] != stream:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "CONTINUATION of no header block")
        _, first, block = self._block
        self._calm.spend()
        block += payload
        if len(block) > self._bounds.most_head_bytes:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "a header block is too long")
        if flags & f.END_HEADERS:
            self._block = None
            self._headers(stream, first, bytes(block))

    def _headers(self, stream: int, flags: int, block: bytes) -> None:
        call = self._calls.get(stream)
        if stream <= self._last_stream:  # trailers, or a stream that has ended meanwhile
            self._reader.skip(block)
            if call is not None and not call.is_over:
                if call.is_complete or not flags & f.END_STREAM:
                    raise StreamFault(Code.PROTOCOL_ERROR)
                self._complete(stream, call)
            return
        if self._is_leaving:  # who was told so asks elsewhere
            self._reader.skip(block)
            return
        self._last_stream = stream
        self._calm.earn()
        head = self._reader.read(block)
        if len(self._calls) >= self._bounds.max_streams:
            raise StreamFault(Code.REFUSED_STREAM)
        self._begin(stream, head, is_complete=bool(flags & f.END_STREAM))

    def _begin(self, stream: int, head: Head, *, is_complete: bool) -> None:
        call = RpcCall(self, stream, head, self._peer_window, self._bounds.max_message_bytes)
        call.is_complete = is_complete
        if head.http_status != 200:
            call.end_by(http_only(head.http_status))
            return
        try:
            call.handler = self._host.accept(head)
        except Refused as refused:
            call.end(refused.status, refused.details, refused.metadata)
            return
        self._calls[stream] = call
        self._host.began()
        if head.timeout_s is not None:
            call.timer = self._loop.call_later(head.timeout_s, self._expire, stream, call)
        if call.handler.request_streaming or is_complete:
            self._start(stream, call)

    def _complete(self, stream: int, call: RpcCall) -> None:
        call.complete()
        if call.task is None:
            self._start(stream, call)

    def _start(self, stream: int, call: RpcCall) -> None:
        call.task = self._loop.create_task(self._run(stream, call))

    async def _run(self, stream: int, call: RpcCall) -> None:
        try:
            await run(call, call.handler)
        finally:
            self._forget(stream, call)

    def _expire(self, stream: int, call: RpcCall) -> None:
        call.is_expired = True
        if call.task is not None:
            call.task.cancel()
            return
        call.end(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline passed before the request was complete")
        self._forget(stream, call)

    def _drop(self, stream: int, call: RpcCall) -> None:
        """Nobody waits for it any more."""
        call.is_over = True
        if call.task is None:
            self._forget(stream, call)
        else:
            call.task.cancel()

    def _forget(self, stream: int, call: RpcCall) -> None:
        if call.timer is not None:
            call.timer.cancel()
        if self._calls.pop(stream, None) is not None:
            self._host.ended()

    def _reset(self, stream: int, code: Code) -> None:
        self.send(f.frame(f.RST_STREAM, 0, stream, f.UINT32.pack(code)))
        if (call := self._calls.get(stream)) is not None:
            self._drop(stream, call)

    def _on_reset(self, flags: int, stream: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "RST_STREAM is not 4 bytes long")
        if not stream & 1 or stream > self._last_stream:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "RST_STREAM on a stream that never began")
        self._calm.spend()
        if (call := self._calls.get(stream)) is not None:
            self._drop(stream, call)

    def _on_settings(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "SETTINGS on a stream")
        if len(payload) % f.SETTING.size or (flags & f.ACK and payload):
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "SETTINGS has a wrong length")
        self._calm.spend()
        if flags & f.ACK:
            return
        for key, value in f.SETTING.iter_unpack(payload):
            self._set(key, value)
        if not self._has_settings:
            self._has_settings = True
            self._handshake.cancel()
        self.send(f.frame(f.SETTINGS, f.ACK, 0))
        self._wake()

    def _set(self, key: int, value: int) -> None:
        if key == f.INITIAL_WINDOW:
            if value > f.MAX_WINDOW:
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "an initial window is over 2^31 - 1")
            for call in self._calls.values():
                call.window += value - self._peer_window
                if call.window > f.MAX_WINDOW:
                    raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "a window is over 2^31 - 1")
            self._peer_window = value
        elif key == f.MAX_FRAME_SIZE:
            if not f.DEFAULT_FRAME_BYTES <= value < 2**24:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "a largest frame is not within 2^14 and 2^24")
            self.frame_bytes = min(value, MAX_FRAME_BYTES)
        elif key == f.HEADER_TABLE_SIZE:
            self._owes_table = True
        elif key == f.ENABLE_PUSH and value > 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "ENABLE_PUSH is neither 0 nor 1")

    def _on_ping(self, flags: int, stream: int, payload: bytes) -> None:
        if stream:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "PING is not 8 bytes long")
        self._calm.spend()
        if not flags & f.ACK:
            self.send(f.frame(f.PING, f.ACK, 0, payload))

    def _on_window(self, flags: int, stream: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "WINDOW_UPDATE is not 4 bytes long")
        self._calm.spend()
        more = f.UINT32.unpack(payload)[0] & f.MAX_WINDOW
        if not stream:
            self.window += more
            if not more or self.window > f.MAX_WINDOW:
                raise ConnectionFault(
                    Code.FLOW_CONTROL_ERROR, "the connection's window is 0 or over 2^31 - 1"
                )
        elif stream > self._last_stream:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "WINDOW_UPDATE on a stream that never began")
        elif (call := self._calls.get(stream)) is not None:
            call.window += more
            if not more or call.window > f.MAX_WINDOW:
                raise StreamFault(Code.FLOW_CONTROL_ERROR)
        self._wake()

    def _on_priority(self, flags: int, stream: int, payload: bytes) -> None:
        self._calm.spend()
        if len(payload) != 5:
            raise StreamFault(Code.FRAME_SIZE_ERROR)

    def _on_goaway(self, flags: int, stream: int, payload: bytes) -> None:
        self._calm.spend()  # the peer will begin no more calls, and hang up after its last

    def _on_push(self, flags: int, stream: int, payload: bytes) -> None:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "a client pushes nothing")

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def _late(self) -> None:
        self._hang_up(Code.NO_ERROR, "no settings came in time")

    def _hang_up(self, code: Code, reason: str) -> None:
        """Say why and end our half; what still comes is not read, but a reset would overtake the reason."""
        self.send(_goaway(self._last_stream, code, reason))
        self._drop_all()
        if self._transport.is_closing():
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
            self._loop.call_later(LINGER_S, self._transport.close)
        else:
            self._transport.close()

    def _drop_all(self) -> None:
        self._is_leaving = self._is_deaf = True
        for stream, call in tuple(self._calls.items()):
            self._drop(stream, call)
        self._wake()


def _goaway(last_stream: int, code: Code, reason: str) -> bytes:
    return f.frame(f.GOAWAY, 0, 0, f.UINT32.pack(last_stream) + f.UINT32.pack(code) + reason.encode())


_FRAMES: Mapping[int, Callable[[Connection, int, int, bytes], None]] = {
    f.DATA: Connection._on_data,
    f.HEADERS: Connection._on_headers,
    f.PRIORITY: Connection._on_priority,
    f.RST_STREAM: Connection._on_reset,
    f.SETTINGS: Connection._on_settings,
    f.PUSH_PROMISE: Connection._on_push,
    f.PING: Connection._on_ping,
    f.GOAWAY: Connection._on_goaway,
    f.WINDOW_UPDATE: Connection._on_window,
    f.CONTINUATION: Connection._on_continuation,
}
