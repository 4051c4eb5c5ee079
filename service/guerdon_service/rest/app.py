"""The REST app."""

from collections.abc import Sequence
from functools import partial
from importlib.metadata import version

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route

from guerdon_service.console.files import Console
from guerdon_service.core.auth import Keyring, Scope
from guerdon_service.core.limits import Limits
from guerdon_service.core.scorer import TransportObserver
from guerdon_service.core.services import Services
from guerdon_service.rest.audit import Endpoint, audited
from guerdon_service.rest.context import Context
from guerdon_service.rest.dialects.mount import mount
from guerdon_service.rest.dialects.openapi import with_dialects
from guerdon_service.rest.edge import Edge
from guerdon_service.rest.failure import http_exception_response
from guerdon_service.rest.openapi import openapi_document
from guerdon_service.rest.table import TABLE, Row


def create_app(
    services: Services,
    *,
    auth: Keyring,
    limits: Limits,
    observer: TransportObserver,
    dialects: Sequence[str] = (),
    console: bool = False,
    rows: Sequence[Row] = TABLE,
) -> FastAPI:
    """Build the app over a domain layer, with the routes of `rows`; it starts nothing and owns nothing.

    Endpoints take the bare request and give a finished response: reading and writing JSON by hand costs a
    tenth of what passing every item through a framework's models would.
    """
    context = Context(services, limits, observer)
    routes: list[BaseRoute] = [
        Route(row.path, partial(_endpoint(row), context), methods=[row.method]) for row in rows
    ]
    mounted = mount(dialects, context, taken={row.path for row in TABLE})
    routes += mounted.routes
    # Its own pages of the API would come from another host; the console has one, from here.
    app = FastAPI(title="Guerdon", routes=routes, docs_url=None, redoc_url=None, redirect_slashes=False)
    document = partial(openapi_document, version("guerdon"), limits, rows)
    app.openapi = lambda: with_dialects(document(), mounted)  # type: ignore[method-assign]
    app.add_exception_handler(HTTPException, http_exception_response)
    app.add_middleware(Edge, auth=auth, observer=observer, dialects=mounted)
    if console:
        app.add_middleware(Console)
    return app


def _endpoint(row: Row) -> Endpoint:
    """What answers `row`; what changes the service by an administrator's scope is written down."""
    return audited(row.endpoint) if row.scope is Scope.ADMIN and row.method != "GET" else row.endpoint
