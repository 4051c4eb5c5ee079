"""Dialects by name, and their place among the app's routes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from guerdon_service.core.call import Call, wire_text
from guerdon_service.core.errors import GuerdonError
from guerdon_service.dialects.patient_scorer import PatientScorer
from guerdon_service.rest.body import read_body, read_bytes
from guerdon_service.rest.context import Context, allow, json_reply
from guerdon_service.rest.dialects.cohere import COHERE
from guerdon_service.rest.dialects.dialect import Ask, Dialect, DialectRoute
from guerdon_service.rest.dialects.jina import JINA
from guerdon_service.rest.dialects.oip import OIP
from guerdon_service.rest.dialects.openrlhf import OPENRLHF
from guerdon_service.rest.dialects.sglang import SGLANG
from guerdon_service.rest.dialects.slime import SLIME
from guerdon_service.rest.dialects.tei import TEI
from guerdon_service.rest.dialects.vllm import VLLM
from guerdon_service.rest.dialects.voyage import VOYAGE
from guerdon_service.rest.disconnect import while_connected
from guerdon_service.rest.failure import error_headers, error_response
from guerdon_service.rest.render import dump

DIALECTS = {
    "openrlhf": OPENRLHF,
    "slime": SLIME,
    "vllm": VLLM,
    "sglang": SGLANG,
    "tei": TEI,
    "cohere": COHERE,
    "jina": JINA,
    "voyage": VOYAGE,
    "oip": OIP,
}
"""By the names that settings give."""


@dataclass(frozen=True, slots=True)
class Place:
    """One path at which a row of the dialect `name` answers."""

    route: Route
    name: str
    dialect: Dialect
    row: DialectRoute


@dataclass(frozen=True, slots=True)
class Mounted:
    """All places of the dialects that are on; those of `open_paths` ask for no key."""

    places: tuple[Place, ...]
    open_paths: frozenset[str]

    @property
    def routes(self) -> list[Route]:
        """For the app, behind its own."""
        return [place.route for place in self.places]

    def error_response(self, scope: Scope, error: GuerdonError) -> Response:
        """`error` in the shape of the dialect that `scope` asks in, or in the service's own."""
        for place in self.places:
            if place.route.matches(scope)[0] != Match.NONE:
                status = place.dialect.status_of(error)
                body = dump(place.dialect.error(error, status, wire_text(error.message)))
                return Response(body, status, error_headers(error), "application/json")
        return error_response(error)


def mount(names: Sequence[str], context: Context, taken: Collection[str]) -> Mounted:
    """Routes of the dialects `names`.

    Each stands under its own prefix (``/vllm/score``), and at the root as well where no path of `taken` and
    no dialect named before it is there.
    """
    places: list[Place] = []
    seen = set(taken)
    for name in names:
        dialect = DIALECTS[name]
        free = {route.path for route in dialect.routes} - seen
        for route in dialect.routes:
            for path in (f"/{name}{route.path}", *({route.path} & free)):
                places.append(Place(_route(context, name, path, route), name, dialect, route))
        seen |= free
    return Mounted(tuple(places), frozenset(p.route.path for p in places if p.row.is_open))


def _route(context: Context, name: str, path: str, row: DialectRoute) -> Route:
    async def endpoint(request: Request) -> Response:
        with context.reading.request(request.scope["guerdon.caller"].tenant, row.scope):
            ask = await _ask(context, request, row)
            return json_reply(dump(await while_connected(request, _answered(row, ask))))

    endpoint.__name__ = f"{name}_{row.answer.__name__}"  # the verb, as metrics name it
    return Route(path, endpoint, methods=[row.method])


async def _answered(row: DialectRoute, ask: Ask) -> object:
    return await row.answer(ask)


async def _ask(context: Context, request: Request, row: DialectRoute) -> Ask:
    caller = request.scope["guerdon.caller"]
    call = Call(caller.tenant, request.scope["guerdon.request_id"])
    if row.scope is not None:
        call = allow(request, row.scope)
    read = read_bytes if row.any_media or row.method == "GET" else read_body
    content = await read(request, context.limits)
    asked = PatientScorer(context.services.scorer, context.limits, call)
    return Ask(asked, request.path_params, request.headers, content)
