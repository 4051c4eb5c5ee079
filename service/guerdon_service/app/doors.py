"""One server on one port each: REST by uvicorn, gRPC by grpcio."""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc.aio
import uvicorn
from fastapi import FastAPI

from guerdon_service.core.limits import Limits
from guerdon_service.rest.bounded_http import BoundedHttp

KEEP_ALIVE_S = 75
"""An idle connection is kept longer than clients keep theirs (5 to 60 s), so that none reuses one that the
service is just closing."""
BACKLOG = 2048
"""Connections that may wait to be accepted."""
FLUSH_S = 1
"""For answers already made to reach their callers, in seconds."""

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class RestDoor:
    """A REST app on a listening socket."""

    server: uvicorn.Server
    listener: socket.socket
    ticking: "asyncio.Task[None] | None" = None

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self.listener.getsockname()[1]
        return port

    async def open(self) -> None:
        """Accept connections."""
        await self.server.startup(sockets=[self.listener])
        self.ticking = asyncio.create_task(self.server.main_loop())

    async def close(self) -> None:
        """Accept no more, then let go of those that are open."""
        self.server.should_exit = True
        if self.ticking is None:
            self.listener.close()
            return
        await self.ticking
        await self.server.shutdown(sockets=[self.listener])


class RpcDoor:
    """A gRPC server on its port.

    grpcio's asyncio server (1.85 at least) ends for good at a method's name that is not UTF-8, which anybody
    who reaches the port can send, and cannot be opened again in its process. Then `on_end` is called: the
    service drains and stops, and whoever started it starts it again.
    """

    def __init__(self, server: grpc.aio.Server, port: int, on_end: Callable[[], None]) -> None:
        self._server, self.port, self._on_end = server, port, on_end
        self._watching: asyncio.Task[None] | None = None
        self._is_closing = False

    async def open(self) -> None:
        """Accept connections."""
        await self._server.start()
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Accept no more, then let go of those that are open."""
        self._is_closing = True
        await self._server.stop(FLUSH_S)
        if self._watching is not None:
            # Not cancelled: the server would take that for the end of its own stopping.
            await self._watching

    async def _watch(self) -> None:
        try:
            await self._server.wait_for_termination()
        except Exception as error:  # whatever ended it
            _LOG.critical("the gRPC server ended by itself (%s); the service stops", error)
        if not self._is_closing:
            self._on_end()


def rest_door(
    app: FastAPI, listener: socket.socket, limits: Limits, context: ssl.SSLContext | None
) -> RestDoor:
    """uvicorn without its own signal handlers, log configuration and loop."""
    protocol: Any = partial(BoundedHttp, limits=limits)
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=FLUSH_S,
    )
    config.load()
    config.ssl = context
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    return RestDoor(server, listener)


def bind(host: str, port: int) -> socket.socket:
    """A listening TCP socket.

    Raises:
        OSError: the address can't be had.
    """
    listener = None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        family, kind, proto, _, address = found[0]
        # Not socket.create_server: it leaves the protocol 0, by which asyncio tells whether to set
        # TCP_NODELAY, and without that every reply waits 40 ms for the client's delayed acknowledgement.
        listener = socket.socket(family, kind, proto)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        if listener is not None:
            listener.close()
        raise
    return listener
