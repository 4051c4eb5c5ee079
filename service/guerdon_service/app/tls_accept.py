"""Accept connections over TLS, no more than so many in their handshakes at once."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

RETRY_S = 1.0
"""After there was no file or memory for another connection."""
_SCARCE = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class TlsServer:
    """As asyncio's own server, which begins any number of handshakes: each holds memory, and its connection
    counts among those that may be open only after it. Here more wait in the kernel.

    Args:
        make: an accepted connection's protocol.
        listener: bound and listening.
        max_handshakes: that may be under way at once, each for at most `handshake_s` seconds.
    """

    def __init__(
        self,
        make: Callable[[], asyncio.BaseProtocol],
        listener: socket.socket,
        context: ssl.SSLContext,
        *,
        max_handshakes: int,
        handshake_s: float,
    ) -> None:
        self._make, self._listener, self._context = make, listener, context
        self._max_handshakes, self._handshake_s = max_handshakes, handshake_s
        self._loop = asyncio.get_running_loop()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._is_closed = False
        listener.setblocking(False)
        self._listen()

    def close(self) -> None:
        """Accept no more, and end the handshakes."""
        self._is_closed = True
        self._loop.remove_reader(self._listener)
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
        try:
            accepted, _ = self._listener.accept()
        except OSError as error:
            if error.errno in _SCARCE:
                self._loop.remove_reader(self._listener)
                self._loop.call_later(RETRY_S, self._listen)
            return  # or it is gone already
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
