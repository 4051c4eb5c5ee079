"""The REST app."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from guerdon_service.console.files import Console
from guerdon_service.core.auth import Keyring, Scope
from guerdon_service.core.limits import Limits
from guerdon_service.core.reading import Reading
from guerdon_service.core.scorer import TransportObserver
from guerdon_service.core.services import Services
from guerdon_service.rest.audit import Endpoint, audited
from guerdon_service.rest.bodies import Bodies
from guerdon_service.rest.context import Context, json_reply
from guerdon_service.rest.dialects.mount import Mounted, mount
from guerdon_service.rest.dialects.openapi import with_dialects
from guerdon_service.rest.edge import Edge
from guerdon_service.rest.openapi import openapi_document
from guerdon_service.rest.render import dump
from guerdon_service.rest.table import TABLE, Row


@dataclass(frozen=True, slots=True)
class RestApp:
    """An ASGI app, and the routes behind it.

    Of a framework only its router: what a general one does besides on each request (its own telemetry, body
    limits, exit stacks and three handlers of exceptions) cost as much as the answer to a known item.
    """

    inner: ASGIApp
    routes: Sequence[BaseRoute]

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope["app"] = self  # by which the router raises what the edge answers
        await self.inner(scope, receive, send)


def create_app(
    services: Services,
    *,
    auth: Keyring,
    limits: Limits,
    observer: TransportObserver,
    dialects: Sequence[str] = (),
    console: bool = False,
    rows: Sequence[Row] = TABLE,
    reading: Reading | None = None,
) -> RestApp:
    """Build the app over a domain layer, with the routes of `rows`; it starts nothing and owns nothing.

    Endpoints take the bare request and give a finished response: reading and writing JSON by hand costs a
    tenth of what passing every item through a framework's models would.
    """
    context = Context(services, limits, observer, reading or Reading())
    mounted = mount(dialects, context, taken={row.path for row in TABLE})
    routes: list[BaseRoute] = [
        Route(row.path, _Answer(context, _endpoint(row), row.scope), methods=[row.method], name=row.name)
        for row in rows
    ]
    routes += [_document(limits, rows, mounted), *mounted.routes]
    bodies = Bodies(limits.max_body_bytes)
    app: ASGIApp = Edge(Router(routes, redirect_slashes=False), auth, observer, mounted, bodies)
    return RestApp(Console(app) if console else app, routes)


@dataclass(frozen=True, slots=True)
class _Answer:
    """An endpoint as the router takes it."""

    context: Context
    endpoint: Endpoint
    scope: Scope | None

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        with self.context.reading.request(scope["guerdon.caller"].tenant, self.scope):
            reply = await self.endpoint(self.context, Request(scope, receive, send))
            await reply(scope, receive, send)


def _endpoint(row: Row) -> Endpoint:
    """What answers `row`; what changes the service by an administrator's scope is written down."""
    return audited(row.endpoint) if row.scope is Scope.ADMIN and row.method != "GET" else row.endpoint


def _document(limits: Limits, rows: Sequence[Row], mounted: Mounted) -> Route:
    @cache
    def document() -> bytes:
        return dump(with_dialects(openapi_document(version("guerdon"), limits, rows), mounted))

    async def openapi(request: Request) -> Response:
        return json_reply(document())

    return Route("/openapi.json", openapi)
