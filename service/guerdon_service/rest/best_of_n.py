"""The route of best-of-n: one reply, or events as candidates are scored."""

from collections.abc import AsyncGenerator

from starlette.requests import Request
from starlette.responses import Response

from guerdon_service.core.auth import Scope
from guerdon_service.core.best_of_n import BestOfN, BestOfNQuery, BestOfNResult
from guerdon_service.core.streams import closed_after
from guerdon_service.rest.best_of_n_wire import decode_best_of_n, render_best_of_n, render_candidate
from guerdon_service.rest.context import Context, json_reply
from guerdon_service.rest.disconnect import while_connected
from guerdon_service.rest.events import EventStream, event
from guerdon_service.rest.render import dump


async def best_of_n(at: Context, request: Request) -> Response | EventStream:
    """Sample n responses of a policy, score each, choose one; as events when `stream` is true."""
    query, stream = await at.parse(request, Scope.SCORE, decode_best_of_n)
    if stream:
        return EventStream(request, _events(at.services.best_of_n, query))
    result = await while_connected(request, at.services.best_of_n.run(query))
    return json_reply(render_best_of_n(result, query.options.request_id))


async def list_policies(at: Context, request: Request) -> Response:
    """Names of the policies that best-of-n samples from."""
    return json_reply(dump({"policies": at.services.best_of_n.policies()}))


async def _events(service: BestOfN, query: BestOfNQuery) -> AsyncGenerator[bytes, None]:
    async with closed_after(service.stream(query)) as parts:
        async for part in parts:
            if isinstance(part, BestOfNResult):
                yield event("result", render_best_of_n(part, query.options.request_id))
            else:
                yield event("candidate", render_candidate(part))
