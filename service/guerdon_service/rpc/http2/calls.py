"""The calls of one connection: how they begin, and every way in which they end."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from guerdon_service.core.at_work import counted_bytes, largest_bytes
from guerdon_service.core.auth import Caller
from guerdon_service.core.errors import DeadlineExceeded, GuerdonError, Overloaded
from guerdon_service.rpc.http2.call import RpcCall, Wire
from guerdon_service.rpc.http2.fields import http_only
from guerdon_service.rpc.http2.frames import Code, StreamFault
from guerdon_service.rpc.http2.head import Head
from guerdon_service.rpc.http2.messages import Refused, Tell
from guerdon_service.rpc.http2.run import Handler, end_cancelled, run

DROPPED_SHARE = 4
"""Calls that were reset and have not ended, by those that may be at work: their caller counts them no more
and may begin others in the same packet, but who resets in a hurry gains no more than this.
"""
HEAD_SLACK_BYTES = 16 * 1024
"""Metadata that is too long by no more is read, so that its call can be told so. It is read before anybody
knows who sends it: more of it would hold up all others.
"""

UNFINISHED_MESSAGES = 8
"""Of the largest size, what one connection may leave unfinished at a time, and what it may have at work."""
MAX_OPEN_BYTES = 64 * 1024
"""Of a message to a method that asks for no key: nobody unknown fills this machine's memory."""
ARRIVAL_S = 120.0
"""For a request that gets one answer, or the only message of one, to be complete, as for a body over REST."""

RETRY_AFTER_MS = 1000
"""For those who come when there are too many, as over REST: nobody knows when others will have left."""
REFUSAL_S = 0.25
"""For a caller who is refused to say all first: grpcio's client, told while it still sends, fails on that and
hides why."""


class Held(StrEnum):
    """Bytes of messages that are bounded on a connection and in all, and what is said of too many."""

    UNFINISHED = "too many unfinished messages; send one after another"
    AT_WORK = "messages at work are too large together; send fewer at once"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one connection may ask.

    max_message_bytes: of one message; max_head_bytes: of one call's metadata; max_streams: calls at work.
    tell: what tells a caller of an error.
    is_open: whether a path is for unknown callers, too; its messages have `MAX_OPEN_BYTES` at most.
    """

    max_message_bytes: int
    max_head_bytes: int
    max_streams: int
    tell: Tell
    is_open: Callable[[str], bool] = lambda path: False

    def held_bytes(self, what: Held) -> int:
        """The size of the messages that so many may be held of.

        It lets a stream, which has 16 MiB at work whatever the largest size is, be slowed down and not ended.
        """
        max_bytes = self.max_message_bytes
        return largest_bytes(max_bytes) if what is Held.AT_WORK else max_bytes

    @property
    def most_head_bytes(self) -> int:
        """What costs a peer its connection, where `max_head_bytes` costs it the call."""
        return self.max_head_bytes + HEAD_SLACK_BYTES


class Host(Protocol):
    """The server, as the calls see it."""

    def accept(self, head: Head) -> tuple[Handler, Caller]:
        """The handler of a call, and who calls; raises `Refused` or a `GuerdonError`."""
        ...

    def began(self, head: Head) -> None:
        """A call counts as at work."""
        ...

    def ended(self, head: Head) -> None:
        """It no longer does."""
        ...

    def hold(self, head: Head, what: Held, num_bytes: int) -> bool:
        """So many more bytes are held, or fewer; whether that is within bounds."""
        ...


class Calls:
    """By stream, until their handlers have ended too."""

    def __init__(self, wire: Wire, host: Host, bounds: Bounds) -> None:
        self._wire, self._host, self._bounds = wire, host, bounds
        self._loop = asyncio.get_running_loop()
        self._by_stream: dict[int, RpcCall] = {}
        self._refused: dict[int, tuple[RpcCall, Refused | GuerdonError]] = {}
        self._arriving: list[tuple[int, RpcCall]] = []
        """Calls that began in what is read now, and were not complete when they did."""
        self._num_dropped = 0
        self._num_held = Counter[Held]()
        self.last_use = self._loop.time()
        """When a call began or ended, last."""

    def __len__(self) -> int:
        return len(self._by_stream)

    def __iter__(self) -> Iterator[RpcCall]:
        return iter(self._by_stream.values())

    def get(self, stream: int) -> RpcCall | None:
        """The call of a stream, if it has one now."""
        return self._by_stream.get(stream)

    def begin(self, stream: int, head: Head, window: int, *, is_complete: bool) -> None:
        """Take a call, or tell its caller why not.

        Args:
            window: bytes that the caller takes on this stream.

        Raises:
            StreamFault: too many are at work.
        """
        self.last_use = self._loop.time()
        most, num_live = self._bounds.max_streams, len(self._by_stream) - self._num_dropped
        if num_live >= most or self._num_dropped >= DROPPED_SHARE * most:
            raise StreamFault(Code.REFUSED_STREAM)
        bounds = self._bounds
        max_bytes = bounds.max_message_bytes
        if bounds.is_open(head.path):
            max_bytes = min(max_bytes, MAX_OPEN_BYTES)
        call = RpcCall(self._wire, stream, head, window, max_bytes, bounds.tell)
        call.is_complete = is_complete
        if head.http_status != 200:
            call.end_by(http_only(head.http_status))
            return
        try:
            call.handler, call.caller = self._host.accept(head)
        except (Refused, GuerdonError) as refused:
            self._refuse(stream, call, refused)
            return
        self._by_stream[stream] = call
        self._host.began(head)
        if is_complete or call.handler.request_streaming:
            self._start(stream, call)
        if _awaits_rest(call):
            self._arriving.append((stream, call))

    def time_arrivals(self) -> None:
        """Told when all that came is read: what is complete by then, as most is, needs no timer to arrive."""
        if self._arriving:
            arriving, self._arriving = self._arriving, []
            for stream, call in arriving:
                if _awaits_rest(call) and not call.is_over:
                    self._time(stream, call, ARRIVAL_S)

    def received(self, stream: int, data: bytes, num_bytes: int) -> None:
        """More of a caller's bytes; `num_bytes` with padding. Those of a call that is over are dropped.

        Raises:
            StreamFault: its caller said that there would be none, or was not allowed so many.
        """
        call = self._at_work(stream)
        if call is None:
            return
        if call.is_complete:
            raise StreamFault(Code.STREAM_CLOSED)
        try:
            (call.received_of_one if call.task is None else call.received)(data, num_bytes)
            self._count(call, call.num_unfinished)
        except (Refused, GuerdonError) as refused:
            call.refuse(refused)
            self.drop(stream)

    def complete(self, stream: int) -> None:
        """A caller has sent all.

        Raises:
            StreamFault: it had said so before.
        """
        if stream in self._refused:
            self._refused[stream][0].complete()
            self._tell_refused(stream)
        call = self._at_work(stream)
        if call is None:
            return
        if call.is_complete:
            raise StreamFault(Code.PROTOCOL_ERROR)
        call.complete()
        if call.task is None:
            self._start(stream, call)
        elif call.timer is not None:
            self._time(stream, call, None)

    def at_work(self, call: RpcCall, num_bytes: int) -> None:
        """As `Wire.at_work`: what handlers have, and wait with for others' work, no window bounds."""
        before, call.num_at_work = call.num_at_work, call.num_at_work + num_bytes
        more = counted_bytes(call.num_at_work) - counted_bytes(before)
        if more and not self._bounds.is_open(call.head.path):  # those are small, and few
            self._hold(call, Held.AT_WORK, more)

    def drop(self, stream: int) -> None:
        """Nobody waits for a call any more."""
        if stream in self._refused:
            self._forget_refused(stream)
        call = self._by_stream.get(stream)
        if call is None:
            return
        call.is_over = True
        if call.task is None:
            self._forget(stream, call)
            return
        if not call.is_dropped:
            call.is_dropped = True
            self._num_dropped += 1
        call.task.cancel()

    def drop_all(self) -> None:
        """Nobody waits for any."""
        for stream in (*self._by_stream, *self._refused):
            self.drop(stream)

    def cancel_all(self) -> None:
        """The service stops: every caller is told so, as soon as his handler lets go."""
        for stream in tuple(self._refused):
            self._tell_refused(stream)
        for stream, call in tuple(self._by_stream.items()):
            if call.task is not None:
                call.task.cancel()
            else:
                end_cancelled(call)
                self._forget(stream, call)

    def _at_work(self, stream: int) -> RpcCall | None:
        call = self._by_stream.get(stream)
        return None if call is None or call.is_over else call

    def _refuse(self, stream: int, call: RpcCall, refused: Refused | GuerdonError) -> None:
        if call.is_complete or len(self._refused) >= self._bounds.max_streams:
            call.refuse(refused)
        else:
            call.timer = self._loop.call_later(REFUSAL_S, self._tell_refused, stream)
            self._refused[stream] = (call, refused)

    def _tell_refused(self, stream: int) -> None:
        call, refused = self._forget_refused(stream)
        call.refuse(refused)

    def _forget_refused(self, stream: int) -> tuple[RpcCall, Refused | GuerdonError]:
        call, refused = self._refused.pop(stream)
        assert call.timer is not None, "a call that is refused later waits by a timer"
        call.timer.cancel()
        return call, refused

    def _start(self, stream: int, call: RpcCall) -> None:
        if call.timer is not None or call.head.timeout_s is not None:
            self._time(stream, call, None)  # no more for its arrival
        call.task = self._loop.create_task(run(call, call.handler))
        call.task.add_done_callback(lambda _: self._ended(stream, call))

    def _time(self, stream: int, call: RpcCall, bound_s: float | None) -> None:
        """End the call when its deadline passes, or after `bound_s` seconds if that is sooner."""
        if call.timer is not None:
            call.timer.cancel()
        given_s = [left_s for left_s in (call.time_remaining(), bound_s) if left_s is not None]
        call.timer = self._loop.call_later(min(given_s), self._expire, stream, call) if given_s else None

    def _ended(self, stream: int, call: RpcCall) -> None:
        if not call.is_over:  # one that was cancelled before it began to run has told nobody
            end_cancelled(call)
        self._forget(stream, call)

    def _expire(self, stream: int, call: RpcCall) -> None:
        call.is_expired = True
        if _awaits_rest(call):
            call.refuse(DeadlineExceeded("the request was not complete in time; send it without pauses"))
        if call.task is not None:
            call.task.cancel()
        else:
            self._forget(stream, call)

    def _count(self, call: RpcCall, num_unfinished: int) -> None:
        """Count what a call holds of an unfinished message; raises `Overloaded` when all hold too much."""
        more, call.num_counted = num_unfinished - call.num_counted, num_unfinished
        if more:
            self._hold(call, Held.UNFINISHED, more)

    def _hold(self, call: RpcCall, what: Held, more: int) -> None:
        self._num_held[what] += more
        has_room = self._num_held[what] <= UNFINISHED_MESSAGES * self._bounds.held_bytes(what)
        if not (self._host.hold(call.head, what, more) and has_room) and more > 0:
            raise Overloaded(what.value, retry_after_ms=RETRY_AFTER_MS)

    def _forget(self, stream: int, call: RpcCall) -> None:
        if call.timer is not None:
            call.timer.cancel()
        if self._by_stream.pop(stream, None) is not None:
            call.forget()
            self._count(call, 0)
            self.at_work(call, -call.num_at_work)
            self._num_dropped -= call.is_dropped
            self.last_use = self._loop.time()
            self._host.ended(call.head)


def _awaits_rest(call: RpcCall) -> bool:
    """Whether what it asks, all of which is answered together, has not come whole."""
    return not (call.is_complete or (call.handler.request_streaming and call.handler.response_streaming))
