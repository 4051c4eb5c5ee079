"""REST and gRPC on their ports, in the running event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field

from guerdon_service.app.doors import RestDoor, RpcDoor, bind, rest_door
from guerdon_service.app.settings import Settings
from guerdon_service.app.tls import Tls, tls_of
from guerdon_service.core.auth import Keyring
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.reading import Reading
from guerdon_service.core.scorer import TransportObserver
from guerdon_service.core.services import Services
from guerdon_service.rest.app import create_app
from guerdon_service.rest.table import PUBLIC, TABLE
from guerdon_service.rpc.server import create_server


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the service listens; None where administrators have no ports of their own."""

    host: str
    port: int
    grpc_port: int
    admin_port: int | None = None
    admin_grpc_port: int | None = None
    is_tls: bool = False
    rpc_doors: tuple[RpcDoor, ...] = field(default=(), repr=False, compare=False)

    def leave(self) -> None:
        """Have gRPC's callers, whose connections last, connect again: a balancer then finds another replica.

        Ports stay open, so that who comes here all the same hears why he is refused.
        """
        for door in self.rpc_doors:
            door.leave()

    def __str__(self) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, _bracketed(self.host))  # noqa: S104
        return f"rest={'https' if self.is_tls else 'http'}://{host}:{self.port} grpc={host}:{self.grpc_port}"


@dataclass(frozen=True, slots=True)
class _Opener:
    """Makes servers that share everything but their port and who may use them."""

    services: Services
    settings: Settings
    auth: Keyring
    observer: TransportObserver
    tls: Tls | None
    reading: Reading

    def rest(self, param: str, host: str, port: int, *, is_admin: bool) -> RestDoor:
        settings = self.settings
        app = create_app(
            self.services,
            auth=self.auth,
            limits=settings.limits,
            observer=self.observer,
            dialects=settings.dialects,
            console=settings.console,
            rows=TABLE if is_admin else PUBLIC,
            reading=self.reading,
        )
        context = None if self.tls is None else self.tls.context()
        return rest_door(app, _had(param, host, port), settings.limits, context)

    def rpc(self, param: str, host: str, port: int, *, is_admin: bool) -> RpcDoor:
        server = create_server(
            self.services,
            auth=self.auth,
            limits=self.settings.limits,
            observer=self.observer,
            dialects=self.settings.dialects,
            is_admin=is_admin,
            reading=self.reading,
        )
        context = None if self.tls is None else self.tls.context()
        return RpcDoor(server, _had(param, host, port), self.settings.limits, context)


@asynccontextmanager
async def listening(
    services: Services,
    settings: Settings,
    *,
    auth: Keyring,
    observer: TransportObserver,
    reading: Reading | None = None,
) -> AsyncIterator[Listening]:
    """Serve within the block; leaving it closes every port, then the connections.

    Raises:
        InvalidInput: a port cannot be had, or a certificate cannot be used.
    """
    opener = _Opener(services, settings, auth, observer, tls_of(settings), reading or Reading())
    doors: dict[str, RestDoor | RpcDoor] = {}
    try:
        for name, host, port, is_admin in _ports(settings):
            make = opener.rpc if "grpc" in name else opener.rest
            doors[name] = make(name, host, port, is_admin=is_admin)
        await asyncio.gather(*(door.open() for door in doors.values()))
        yield _listening(settings, doors)
    finally:
        await asyncio.gather(*(door.close() for door in doors.values()))


def check_ports(settings: Settings) -> None:
    """Bind every port of `settings` together, and let them go.

    Raises:
        InvalidInput: one cannot be had.
    """
    with ExitStack() as held:
        for name, host, port, _ in _ports(settings):
            held.enter_context(_had(name, host, port))


def _ports(settings: Settings) -> list[tuple[str, str, int, bool]]:
    """Each port's setting, host and number, and whether administrators may use it."""
    is_shared = not settings.has_admin_ports
    ports = [
        ("port", settings.host, settings.port, is_shared),
        ("grpc_port", settings.host, settings.grpc_port, is_shared),
    ]
    host = settings.admin_host or settings.host
    own = (("admin_port", settings.admin_port), ("admin_grpc_port", settings.admin_grpc_port))
    return ports + [(name, host, port, True) for name, port in own if port is not None]


def _listening(settings: Settings, doors: Mapping[str, RestDoor | RpcDoor]) -> Listening:
    ports = {name: door.port for name, door in doors.items()}
    is_tls = settings.tls_certificate is not None
    rpc_doors = tuple(door for door in doors.values() if isinstance(door, RpcDoor))
    return Listening(settings.host, is_tls=is_tls, rpc_doors=rpc_doors, **ports)


def _had(param: str, host: str, port: int) -> socket.socket:
    try:
        return bind(host, port)
    except OSError as error:
        raise InvalidInput(
            f"{param} {port} on {host} cannot be listened on ({error}); give another, or 0 for any",
            param=param,
        ) from None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
