"""One server on one port each: REST by uvicorn, gRPC by our own HTTP/2."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import uvicorn

from guerdon_service.app.accepting import Accepting
from guerdon_service.core.limits import Limits
from guerdon_service.rest.app import RestApp
from guerdon_service.rest.bounded_http import BoundedHttp
from guerdon_service.rpc.http2.server import Http2Server

KEEP_ALIVE_S = 75
"""An idle connection is kept longer than clients keep theirs (5 to 60 s), so that none reuses one that the
service is just closing."""
BACKLOG = 2048
"""Connections that may wait to be accepted."""
TLS_HANDSHAKE_S = 10.0
"""For a handshake of TLS, of which as many may be under way as connections may be open."""
FLUSH_S = 1
"""For answers already made to reach their callers, in seconds."""


@dataclass(slots=True)
class RestDoor:
    """A REST app on a listening socket."""

    server: uvicorn.Server
    listener: socket.socket
    limits: Limits
    ticking: "asyncio.Task[None] | None" = None

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self.listener.getsockname()[1]
        return port

    async def open(self) -> None:
        """Accept connections."""
        server, config = self.server, self.server.config
        await server.startup(sockets=[])  # its own would wait a minute for a handshake of TLS
        protocol: Any = config.http_protocol_class
        make = partial(
            protocol, config=config, server_state=server.server_state, app_state=server.lifespan.state
        )
        accepting: Any = _listen(make, self.listener, config.ssl, self.limits)
        server.servers.append(accepting)
        self.ticking = asyncio.create_task(server.main_loop())

    async def close(self) -> None:
        """Accept no more, then let go of those that are open."""
        self.server.should_exit = True
        if self.ticking is None:
            self.listener.close()
            return
        await self.ticking
        await self.server.shutdown(sockets=[self.listener])


@dataclass(frozen=True, slots=True)
class RpcDoor:
    """A gRPC server on a listening socket."""

    server: Http2Server
    listener: socket.socket
    limits: Limits
    context: ssl.SSLContext | None

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self.listener.getsockname()[1]
        return port

    async def open(self) -> None:
        """Accept connections."""
        if self.context is not None:
            self.context.set_alpn_protocols(["h2"])
        self.server.start(self.listener, lambda make: _listen(make, self.listener, self.context, self.limits))

    def leave(self) -> None:
        """Have callers connect again for what comes next."""
        self.server.leave()

    async def close(self) -> None:
        """Accept no more, then let go of those that are open."""
        await self.server.stop(FLUSH_S)
        self.listener.close()


def rest_door(
    app: RestApp, listener: socket.socket, limits: Limits, context: ssl.SSLContext | None
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
        proxy_headers=False,  # nothing here asks who a proxy speaks for
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=FLUSH_S,
    )
    config.load()
    config.ssl = context
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    return RestDoor(server, listener, limits)


def _listen(
    make: Callable[[], asyncio.BaseProtocol],
    listener: socket.socket,
    context: ssl.SSLContext | None,
    limits: Limits,
) -> Accepting:
    """Accept connections, each with a protocol that `make` makes."""
    return Accepting(
        make, listener, context, max_handshakes=limits.max_connections, handshake_s=TLS_HANDSHAKE_S
    )


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
