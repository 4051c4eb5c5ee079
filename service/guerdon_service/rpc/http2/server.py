"""A gRPC server on the event loop."""

import asyncio
import math
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import grpc

from guerdon_service.core.auth import Caller
from guerdon_service.core.errors import InvalidInput, Overloaded, PayloadTooLarge
from guerdon_service.rpc.http2.calls import RETRY_AFTER_MS, Bounds, Held
from guerdon_service.rpc.http2.connection import Connection
from guerdon_service.rpc.http2.head import Head
from guerdon_service.rpc.http2.messages import Refused
from guerdon_service.rpc.http2.run import Handler

HANG_UP_S = 1.0
"""For connections to close once nothing is left to say."""
UNFINISHED_MESSAGES = 32
"""As on one connection, on all together."""
OPEN_UNFINISHED_PART = 8
"""Those that need no key may hold one in so many, on top and out of the way of all others."""
OPEN_PART = 2
"""Of all calls at work, those that need no key may be one in so many: a watcher of health stays for ever, so
that there is room for one of each connection, and none for who would take every call without a key.
"""
KEEP_ALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))
"""After two silent minutes the kernel gives a peer up that vanished without a word."""


class Listening(Protocol):
    """What accepts connections."""

    def close(self) -> None:
        """Accept no more."""
        ...


class Http2Server:
    """Serves method handlers as `grpc` and its generated code make them.

    Args:
        guard: who calls, by each call's head, before its handler is sought; raises a `GuerdonError`.
        max_calls: calls at work at once; more are refused with RESOURCE_EXHAUSTED.
        max_connections: that may be open at once.
    """

    def __init__(
        self, bounds: Bounds, guard: Callable[[Head], Caller], *, max_calls: int, max_connections: int
    ) -> None:
        self._bounds, self._guard = bounds, guard
        self._max_calls, self._max_connections = max_calls, max_connections
        self._handlers: dict[str, Handler] = {}
        self._connections: set[Connection] = set()
        self._num_calls = self._num_open = 0
        self._num_held = Counter[tuple[Held, bool]]()
        self._idle = asyncio.Event()
        self._listening: Listening | None = None

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """Serve a service, named in full, by its methods' names."""
        self._handlers |= {f"/{service}/{name}": handler for name, handler in handlers.items()}

    def add_generic_rpc_handlers(self, handlers: Iterable[Handler]) -> None:
        """Generated code calls both; the other one has all that is needed."""

    def start(self, listener: socket.socket, listen: Callable[[Callable[[], Connection]], Listening]) -> None:
        """Accept connections of a listening socket.

        Args:
            listen: begins to, with what makes each connection's protocol.
        """
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # as the accepted ones then have it
        for option, value in KEEP_ALIVE:
            listener.setsockopt(socket.IPPROTO_TCP, option, value)
        self._listening = listen(lambda: Connection(self, self._bounds))

    def leave(self) -> None:
        """Callers finish what they began; for what comes next they connect again, elsewhere if they can."""
        for connection in tuple(self._connections):
            connection.leave()

    async def stop(self, flush_s: float) -> None:
        """Accept no more; calls at work have `flush_s` seconds to end, and are then told to."""
        if self._listening is None:
            return
        self._listening.close()
        self.leave()
        await self._until(lambda: self._num_calls == 0, flush_s)
        for connection in tuple(self._connections):
            connection.cancel()
        await self._until(lambda: self._num_calls == 0, HANG_UP_S)
        for connection in tuple(self._connections):
            connection.close()
        await self._until(lambda: not self._connections, HANG_UP_S)
        for connection in tuple(self._connections):
            connection.abort()
        await self._until(lambda: not self._connections and self._num_calls == 0, HANG_UP_S)

    async def _until(self, is_so: Callable[[], bool], timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                while not is_so():
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            pass

    def accept(self, head: Head) -> tuple[Handler, Caller]:
        """The handler of a call, and who calls.

        Raises:
            Refused: there is no such method.
            GuerdonError: the guard refuses, metadata is too large or wrong, or there are too many calls.
        """
        caller = self._guard(head)
        handler = self._handlers.get(head.path)
        if handler is None:
            raise Refused(grpc.StatusCode.UNIMPLEMENTED, "there is no such method here; see reflection")
        if head.timeout_s is not None and math.isnan(head.timeout_s):
            raise InvalidInput("grpc-timeout cannot be read; give digits and a unit", param="grpc-timeout")
        if head.num_bytes > self._bounds.max_head_bytes:
            raise PayloadTooLarge(
                f"metadata of {head.num_bytes} bytes is over {self._bounds.max_head_bytes}; send less",
                param="metadata",
            )
        if not head.is_in_budget:
            raise Overloaded(
                "too many calls with long metadata came on this connection; send less of it, or fewer calls",
                retry_after_ms=RETRY_AFTER_MS,
            )
        is_open = self._bounds.is_open(head.path)
        if self._num_calls >= self._max_calls or (is_open and self._num_open >= self._max_calls // OPEN_PART):
            raise Overloaded("too many calls are at work; ask another replica", retry_after_ms=RETRY_AFTER_MS)
        return handler, caller

    def began(self, head: Head) -> None:
        """A call counts as at work."""
        self._num_calls += 1
        self._num_open += self._bounds.is_open(head.path)

    def ended(self, head: Head) -> None:
        """It no longer does."""
        self._num_calls -= 1
        self._num_open -= self._bounds.is_open(head.path)
        self._idle.set()

    def hold(self, head: Head, what: Held, num_bytes: int) -> bool:
        """So many more bytes are held, or fewer; whether that is within bounds."""
        is_open = self._bounds.is_open(head.path)
        self._num_held[what, is_open] += num_bytes
        most = UNFINISHED_MESSAGES * self._bounds.held_bytes(what)
        return self._num_held[what, is_open] <= (most // OPEN_UNFINISHED_PART if is_open else most)

    def connected(self, connection: Connection) -> bool:
        """Whether there is room for one more."""
        self._connections.add(connection)
        return len(self._connections) <= self._max_connections

    def disconnected(self, connection: Connection) -> None:
        """It is gone."""
        self._connections.discard(connection)
        self._idle.set()
