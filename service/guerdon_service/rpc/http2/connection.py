"""One connection: what its frames mean, flow control, and its end."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol, cast

from guerdon_service.rpc.http2 import calls
from guerdon_service.rpc.http2 import frames as f
from guerdon_service.rpc.http2.call import STREAM_WINDOW, RpcCall
from guerdon_service.rpc.http2.calls import Bounds, Calls
from guerdon_service.rpc.http2.calm import BURST, Calm
from guerdon_service.rpc.http2.fields import EMPTY_TABLE
from guerdon_service.rpc.http2.frame_reader import MAX_FRAME_BYTES, FrameReader
from guerdon_service.rpc.http2.frames import Code, ConnectionFault, StreamFault
from guerdon_service.rpc.http2.head import HeadReader

WINDOW = 4 * 1024 * 1024
"""Bytes that a peer may send ahead on all its streams."""
UNREAD_BYTES = 16 * 1024 * 1024
"""Of whole messages that wait for their handlers, on all streams: beyond, the window grows no more until some
are read. Messages that had begun may still become whole: a connection holds this, those
(`calls.UNFINISHED_MESSAGES`) and the window at most."""
HANDSHAKE_S = 30.0
"""For a peer's first bytes, its preface and settings."""
PART_S = 30.0
"""For a frame, or a header block of several, to be whole once it has begun, as for a head over REST."""
WRITE_S = 60.0
"""For a peer to read what was sent; one that never does is hung up on."""
IDLE_S = 600.0
"""Without a call a connection is closed after this; clients open another one when they need it."""
LINGER_S = 1.0
"""For a peer that is hung up on to read why."""
SLACK_BYTES = 256 * 1024
"""What may wait to leave before nothing more is read: who does not read is not served."""


class Host(calls.Host, Protocol):
    """The server, as its connections see it."""

    def connected(self, connection: "Connection") -> bool:
        """Whether there is room for one more."""
        ...

    def disconnected(self, connection: "Connection") -> None:
        """It is gone."""
        ...


class Connection(asyncio.Protocol):
    """`call.Wire`, and the callbacks of asyncio."""

    def __init__(self, host: Host, bounds: Bounds) -> None:
        self._host, self._bounds = host, bounds
        self._loop = asyncio.get_running_loop()
        self._calm = Calm(self._loop.time)
        self._frames = FrameReader(bounds.most_head_bytes, self._calm)
        self._heads = HeadReader(bounds.most_head_bytes, Calm(self._loop.time, debt=BURST))
        self._calls = Calls(self, host, bounds)
        self._last_stream = 0
        self._is_leaving = self._is_deaf = False
        self._receive_left, self._uncredited, self._num_unread = WINDOW, 0, 0
        self._peer_window = f.DEFAULT_WINDOW
        self._owes_table = False
        self._part: tuple[int, asyncio.TimerHandle] | None = None
        """The number of what has begun and is not whole, and what ends the wait for the rest."""
        self._waiting: list[tuple[RpcCall, asyncio.Future[None]]] = []
        self.window, self.frame_bytes, self.is_writable = f.DEFAULT_WINDOW, f.DEFAULT_FRAME_BYTES, True

    # Callbacks of asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what is allowed here."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(SLACK_BYTES)
        self._handshake = self._loop.call_later(HANDSHAKE_S, self._late, "no settings came in time")
        self._idle = self._loop.call_later(IDLE_S, self._close_if_idle)
        self._stalled: asyncio.TimerHandle | None = None
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
        try:
            if not self._is_deaf:
                self._take(data)
                self._time_part()
        except ConnectionFault as fault:
            self._hang_up(fault.code, fault.reason)

    def connection_lost(self, error: Exception | None) -> None:
        """Nobody waits for the calls under way any more."""
        self._handshake.cancel()
        self._idle.cancel()
        if self._stalled is not None:
            self._stalled.cancel()
        if self._part is not None:
            self._part[1].cancel()
        self._drop_all()
        self._host.disconnected(self)

    def pause_writing(self) -> None:
        """The peer does not read, so that its requests are not read either."""
        self.is_writable = False
        self._time_part()
        self._transport.pause_reading()
        self._stalled = self._loop.call_later(WRITE_S, self._transport.abort)

    def resume_writing(self) -> None:
        """It does again."""
        self.is_writable = True
        if self._stalled is not None:
            self._stalled.cancel()
        if not self._transport.is_closing():
            self._transport.resume_reading()
        self._time_part()
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

    async def room(self, call: RpcCall) -> None:
        """Wait until the peer takes more of a call, or nothing more at all."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append((call, waiter))
        await waiter

    def unread(self, num_bytes: int) -> None:
        """So many more bytes of whole messages wait for their handler, or fewer."""
        self._num_unread += num_bytes
        if num_bytes < 0:
            self._credit()

    def at_work(self, call: RpcCall, num_bytes: int) -> None:
        """A call's handler has so many more bytes of messages, or fewer."""
        self._calls.at_work(call, num_bytes)

    # What the server asks.

    def leave(self) -> None:
        """Take no more calls, and tell the peer which ones were taken."""
        if not self._is_leaving:
            self._is_leaving = True
            self.send(_goaway(self._last_stream, Code.NO_ERROR, "the service stops"))

    def cancel(self) -> None:
        """End what is at work; its callers are told so."""
        self._calls.cancel_all()

    def close(self) -> None:
        """Hang up once all that was said has left."""
        self._transport.close()

    def abort(self) -> None:
        """Hang up at once."""
        self._transport.abort()

    def _take(self, data: bytes) -> None:
        for kind, flags, stream, payload, num_bytes in self._frames.feed(data):
            try:
                if kind == f.DATA:
                    self._on_data(flags, stream, payload, num_bytes)
                elif (take := _FRAMES.get(kind)) is not None:  # others are ignored (section 4.1)
                    take(self, flags, stream, payload)
            except StreamFault as fault:
                self.send(f.frame(f.RST_STREAM, 0, stream, f.UINT32.pack(fault.code)))
                self._calls.drop(stream)
        self._calls.time_arrivals()

    def _on_data(self, flags: int, stream: int, data: bytes, num_bytes: int) -> None:
        self._must_have_begun(stream)
        self._calm.earn() if data else self._calm.spend()
        self._receive_left -= num_bytes
        if self._receive_left < 0:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "more bytes than the connection's window")
        self._uncredited += num_bytes
        self._credit()
        self._calls.received(stream, data, num_bytes)
        if flags & f.END_STREAM:
            self._calls.complete(stream)

    def _credit(self) -> None:
        """Let the peer send on, unless too much of what it sent waits to be read."""
        if self._uncredited >= WINDOW // 2 and self._num_unread <= UNREAD_BYTES:
            self.send(f.frame(f.WINDOW_UPDATE, 0, 0, f.UINT32.pack(self._uncredited)))
            self._receive_left += self._uncredited
            self._uncredited = 0

    def _on_headers(self, flags: int, stream: int, block: bytes) -> None:
        if stream <= self._last_stream:  # trailers, or a stream that has ended meanwhile
            self._heads.skip(block)
            if not flags & f.END_STREAM:
                raise StreamFault(Code.PROTOCOL_ERROR)
            self._calls.complete(stream)
        elif self._is_leaving:  # who was told so asks elsewhere
            self._heads.skip(block)
        else:
            self._last_stream = stream
            self._calm.earn()
            head = self._heads.read(block)
            self._calls.begin(stream, head, self._peer_window, is_complete=bool(flags & f.END_STREAM))

    def _on_reset(self, flags: int, stream: int, payload: bytes) -> None:
        _must_be(len(payload) == 4, Code.FRAME_SIZE_ERROR, "RST_STREAM is not 4 bytes long")
        self._must_have_begun(stream)
        self._calls.drop(stream)

    def _on_settings(self, flags: int, stream: int, payload: bytes) -> None:
        _must_be(not stream, Code.PROTOCOL_ERROR, "SETTINGS on a stream")
        is_whole = not len(payload) % f.SETTING.size and not (flags & f.ACK and payload)
        _must_be(is_whole, Code.FRAME_SIZE_ERROR, "SETTINGS has a wrong length")
        self._handshake.cancel()
        if flags & f.ACK:
            return
        for key, value in f.SETTING.iter_unpack(payload):
            self._calm.spend()  # thousands fit one frame, and a window changes each call's
            self._set(key, value)
        self.send(f.frame(f.SETTINGS, f.ACK, 0))
        self._wake()

    def _set(self, key: int, value: int) -> None:
        if key == f.INITIAL_WINDOW:
            for call in self._calls:
                call.window += value - self._peer_window
            most = max((value, *(call.window for call in self._calls)))
            _must_be(most <= f.MAX_WINDOW, Code.FLOW_CONTROL_ERROR, "a window is over 2^31 - 1")
            self._peer_window = value
        elif key == f.MAX_FRAME_SIZE:
            is_within = f.DEFAULT_FRAME_BYTES <= value < 2**24
            _must_be(is_within, Code.PROTOCOL_ERROR, "a largest frame is not within 2^14 and 2^24")
            self.frame_bytes = min(value, MAX_FRAME_BYTES)
        elif key == f.HEADER_TABLE_SIZE:
            self._owes_table = True
        elif key == f.ENABLE_PUSH:
            _must_be(value <= 1, Code.PROTOCOL_ERROR, "ENABLE_PUSH is neither 0 nor 1")

    def _on_ping(self, flags: int, stream: int, payload: bytes) -> None:
        _must_be(not stream, Code.PROTOCOL_ERROR, "PING on a stream")
        _must_be(len(payload) == 8, Code.FRAME_SIZE_ERROR, "PING is not 8 bytes long")
        if not flags & f.ACK:
            self.send(f.frame(f.PING, f.ACK, 0, payload))

    def _on_window(self, flags: int, stream: int, payload: bytes) -> None:
        _must_be(len(payload) == 4, Code.FRAME_SIZE_ERROR, "WINDOW_UPDATE is not 4 bytes long")
        more = f.UINT32.unpack(payload)[0] & f.MAX_WINDOW
        if not stream:
            self.window += more
            _must_be(more, Code.PROTOCOL_ERROR, "the connection's window grows by 0")
            is_within = self.window <= f.MAX_WINDOW
            _must_be(is_within, Code.FLOW_CONTROL_ERROR, "the connection's window is over 2^31 - 1")
        else:
            self._must_have_begun(stream)
            if (call := self._calls.get(stream)) is not None:
                call.window += more
                if not more or call.window > f.MAX_WINDOW:
                    raise StreamFault(Code.FLOW_CONTROL_ERROR if more else Code.PROTOCOL_ERROR)
        self._wake()

    def _on_priority(self, flags: int, stream: int, payload: bytes) -> None:
        _must_be(stream, Code.PROTOCOL_ERROR, "PRIORITY of no stream")
        if len(payload) != f.PRIORITY_BYTES:
            raise StreamFault(Code.FRAME_SIZE_ERROR)

    def _on_push(self, flags: int, stream: int, payload: bytes) -> None:
        raise ConnectionFault(Code.PROTOCOL_ERROR, "a client pushes nothing")

    def _must_have_begun(self, stream: int) -> None:
        has_begun = stream & 1 and stream <= self._last_stream
        _must_be(has_begun or self._is_leaving, Code.PROTOCOL_ERROR, "a frame on a stream that never began")

    def _wake(self) -> None:
        """Those who can go on: that one call may say more must not cost a turn of a thousand others."""
        waiting, self._waiting = self._waiting, []
        has_room = self.is_writable and self.window > 0
        for call, waiter in waiting:
            if waiter.done():
                continue
            if self._is_deaf or (has_room and call.window > 0):
                waiter.set_result(None)
            else:
                self._waiting.append((call, waiter))

    def _close_if_idle(self) -> None:
        left_s = IDLE_S if len(self._calls) else self._calls.last_use + IDLE_S - self._loop.time()
        if left_s <= 0:
            self._hang_up(Code.NO_ERROR, "no calls for a while; connect again")
        else:
            self._idle = self._loop.call_later(left_s, self._close_if_idle)

    def _time_part(self) -> None:
        """By its beginning, not by its last byte; but who is not read has not been slow."""
        part = self._frames.part if self.is_writable else None
        if self._part is not None and self._part[0] != part:
            self._part[1].cancel()
            self._part = None
        if part is not None and self._part is None:
            late = self._loop.call_later(PART_S, self._late, "a frame, or its headers, did not come in time")
            self._part = part, late

    def _late(self, reason: str) -> None:
        self._hang_up(Code.NO_ERROR, reason)

    def _hang_up(self, code: Code, reason: str) -> None:
        """Say why and end our half; what still comes is not read, but a reset would overtake the reason."""
        self.send(_goaway(self._last_stream, code, reason))
        self._drop_all()
        if self._transport.is_closing():
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
            self._loop.call_later(LINGER_S, self._transport.abort)  # who does not read would keep it open
        else:
            self._transport.close()

    def _drop_all(self) -> None:
        self._is_leaving = self._is_deaf = True
        self._calls.drop_all()
        self._wake()


def _must_be(holds: object, code: Code, otherwise: str) -> None:
    if not holds:
        raise ConnectionFault(code, otherwise)


def _goaway(last_stream: int, code: Code, reason: str) -> bytes:
    return f.frame(f.GOAWAY, 0, 0, f.UINT32.pack(last_stream) + f.UINT32.pack(code) + reason.encode())


_FRAMES: Mapping[int, Callable[[Connection, int, int, bytes], None]] = {
    f.HEADERS: Connection._on_headers,
    f.PRIORITY: Connection._on_priority,
    f.RST_STREAM: Connection._on_reset,
    f.SETTINGS: Connection._on_settings,
    f.PUSH_PROMISE: Connection._on_push,
    f.PING: Connection._on_ping,
    f.WINDOW_UPDATE: Connection._on_window,
}
