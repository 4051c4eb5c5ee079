"""Accept connections, all that wait at once, no more than so many in their handshakes."""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

MAX_A_TURN = 256
"""Connections accepted in one turn of the event loop: a storm of them leaves time for those that are in."""
RETRY_S = 1.0
"""After there was no file or memory for another connection."""
_SCARCE = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))

log = logging.getLogger(__name__)


class Accepting:
    """As a server of the event loop, but for two things.

    uvloop's accepts one connection a turn: of many that come at once while it is busy, the last wait for
    seconds, though each is answered soon once it is in. And both loops begin any number of handshakes of
    TLS: each holds memory, and its connection counts among those that may be open only after it. Here more
    wait in the kernel.

    Args:
        make: an accepted connection's protocol.
        listener: bound and listening.
        context: of TLS; None is plain text.
        max_handshakes: that may be under way at once, each for at most `handshake_s` seconds.
    """

    def __init__(
        self,
        make: Callable[[], asyncio.BaseProtocol],
        listener: socket.socket,
        context: ssl.SSLContext | None,
        *,
        max_handshakes: int,
        handshake_s: float,
    ) -> None:
        self._make, self._listener, self._context = make, listener, context
        self._max_handshakes = max_handshakes
        self._handshake_s = None if context is None else handshake_s
        self._loop = asyncio.get_running_loop()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._is_closed = False
        listener.setblocking(False)
        self._listen()

    def close(self) -> None:
        """Accept no more, and end the handshakes. Who connects from now on is refused, and asks elsewhere."""
        if self._is_closed:
            return
        self._is_closed = True
        self._loop.remove_reader(self._listener)
        self._listener.close()
        for handshake in self._handshakes:
            handshake.cancel()

    async def wait_closed(self) -> None:
        """Return once no handshake is under way."""
        if self._handshakes:
            await asyncio.wait(self._handshakes)

    def _listen(self) -> None:
        if not self._is_closed and len(self._handshakes) < self._max_handshakes:
            self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(min(MAX_A_TURN, self._max_handshakes - len(self._handshakes))):
            try:
                accepted, _ = self._listener.accept()
            except OSError as error:
                if error.errno in _SCARCE:
                    log.warning("connections wait: there is no file or memory for another", exc_info=error)
                    self._loop.remove_reader(self._listener)
                    self._loop.call_later(RETRY_S, self._listen)
                return  # or there are no more, or it is gone already
            handshake = self._loop.create_task(self._shake(accepted))
            self._handshakes.add(handshake)
            handshake.add_done_callback(self._shaken)
        if len(self._handshakes) >= self._max_handshakes:
            self._loop.remove_reader(self._listener)

    async def _shake(self, accepted: socket.socket) -> None:
        with suppress(OSError):  # errors of TLS are; the transport has closed it then
            await self._loop.connect_accepted_socket(
                self._make, accepted, ssl=self._context, ssl_handshake_timeout=self._handshake_s
            )

    def _shaken(self, handshake: asyncio.Task[None]) -> None:
        self._handshakes.discard(handshake)
        self._listen()
