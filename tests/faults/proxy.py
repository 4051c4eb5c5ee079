"""A TCP proxy that can be slow, and that passes to whichever of several servers is up."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count


class Proxy:
    """Connections are passed to `ports` in turn; those that refuse are passed over.

    delay_s: every chunk of every connection is held back for so long.
    num_connections: that came so far.
    """

    def __init__(self, ports: Sequence[int]) -> None:
        self.ports = list(ports)
        self.delay_s = 0.0
        self.port = 0
        self.num_connections = 0
        self._turn = count()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Proxy"]:
        server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.num_connections += 1
        with suppress(OSError, asyncio.CancelledError):
            for _ in self.ports:
                port = self.ports[next(self._turn) % len(self.ports)]
                with suppress(ConnectionRefusedError):
                    behind, to = await asyncio.open_connection("127.0.0.1", port)
                    await asyncio.gather(self._pump(reader, to), self._pump(behind, writer))
                    break
        writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                await asyncio.sleep(self.delay_s)
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()
