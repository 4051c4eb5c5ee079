"""REST and gRPC on their ports, in the running event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI

from guerdon_service.app.settings import Settings
from guerdon_service.core.auth import Keyring
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.scorer import TransportObserver
from guerdon_service.core.services import Services
from guerdon_service.rest.app import create_app
from guerdon_service.rpc.server import create_server

KEEP_ALIVE_S = 75
"""An idle connection is kept longer than clients keep theirs (5 to 60 s), so that none reuses one that the
service is just closing."""
BACKLOG = 2048
"""Connections that may wait to be accepted."""
FLUSH_S = 1
"""For answers already made to reach their callers, in seconds."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the service listens."""

    host: str
    port: int
    grpc_port: int

    def __str__(self) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, _bracketed(self.host))  # noqa: S104
        return f"rest=http://{host}:{self.port} grpc={host}:{self.grpc_port}"


@asynccontextmanager
async def listening(
    services: Services, settings: Settings, *, auth: Keyring, observer: TransportObserver
) -> AsyncIterator[Listening]:
    """Serve within the block; leaving it closes both ports, then the connections.

    Raises:
        InvalidInput: a port cannot be had.
    """
    app = create_app(
        services,
        auth=auth,
        limits=settings.limits,
        observer=observer,
        dialects=settings.dialects,
        console=settings.console,
    )
    listener = bind(settings.host, settings.port)
    try:
        rpc, grpc_port = create_server(
            services,
            auth=auth,
            limits=settings.limits,
            observer=observer,
            dialects=settings.dialects,
            address=f"{_bracketed(settings.host)}:{settings.grpc_port}",
        )
    except RuntimeError as error:
        listener.close()
        raise _taken("grpc_port", settings.grpc_port, settings.host, error) from None
    rest = _rest_server(app)
    await rest.startup(sockets=[listener])
    await rpc.start()
    ticking = asyncio.create_task(rest.main_loop())
    try:
        yield Listening(settings.host, listener.getsockname()[1], grpc_port)
    finally:
        rest.should_exit = True
        await asyncio.gather(ticking, rpc.stop(FLUSH_S))
        await rest.shutdown(sockets=[listener])


def _rest_server(app: FastAPI) -> uvicorn.Server:
    """uvicorn without its own signal handlers, log configuration and loop."""
    config = uvicorn.Config(
        app,
        http="httptools",
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
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    return server


def bind(host: str, port: int) -> socket.socket:
    """A listening TCP socket.

    Raises:
        InvalidInput: the address can't be had; it names the setting `port`.
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
    except OSError as error:
        if listener is not None:
            listener.close()
        raise _taken("port", port, host, error) from None
    return listener


def _taken(param: str, port: int, host: str, error: Exception) -> InvalidInput:
    return InvalidInput(
        f"{param} {port} on {host} cannot be listened on ({error}); give another, or 0 for any", param=param
    )


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
