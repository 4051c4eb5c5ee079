"""The routes of the scoring verbs, of models, and of whoever watches the service: parse, call, render."""

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from guerdon_service.core.artifact import ModelInfo
from guerdon_service.core.auth import Scope
from guerdon_service.core.errors import NotReady
from guerdon_service.core.manifest import Manifest
from guerdon_service.core.scorer import Scorer
from guerdon_service.rest.context import Context, allow, json_reply
from guerdon_service.rest.decode import decode_compare, decode_rank, decode_score, decode_spec
from guerdon_service.rest.disconnect import while_connected
from guerdon_service.rest.render import (
    dump,
    render_compare,
    render_model,
    render_models,
    render_rank,
    render_score,
)

READY_RETRY_MS = 1000
"""When to ask again while the service is not ready, in milliseconds."""


async def score(at: Context, request: Request) -> Response:
    """Score conversations, each on its own."""
    query = await at.parse(request, Scope.SCORE, partial(decode_score, limits=at.limits))
    result = await while_connected(request, at.services.scorer.score(query))
    return json_reply(render_score(result, query.options.request_id))


async def compare(at: Context, request: Request) -> Response:
    """Probability that one response is preferred to another."""
    query = await at.parse(request, Scope.SCORE, partial(decode_compare, limits=at.limits))
    result = await while_connected(request, at.services.scorer.compare(query))
    return json_reply(render_compare(result, query.options.request_id))


async def rank(at: Context, request: Request) -> Response:
    """Order candidates that answer one prompt, best first."""
    query = await at.parse(request, Scope.SCORE, partial(decode_rank, limits=at.limits))
    result = await while_connected(request, at.services.scorer.rank(query))
    return json_reply(render_rank(result, query.options.request_id))


async def list_models(at: Context, request: Request) -> Response:
    """Models that are loaded."""
    return json_reply(render_models(at.services.scorer.models()))


async def get_model(at: Context, request: Request) -> Response:
    """One model: its state, its whole manifest, and what was inferred about it."""
    info = at.services.scorer.model(request.path_params["name"])
    return json_reply(render_model(info, _manifest(at.services.scorer, info)))


async def load_model(at: Context, request: Request) -> Response:
    """Load one more model, and register it (admin scope)."""
    call = allow(request, Scope.ADMIN)
    spec = await at.parse(request, Scope.ADMIN, decode_spec)
    info = await at.services.registrar.load(spec, call.by)
    return json_reply(render_model(info, _manifest(at.services.scorer, info)), status=201)


async def unload_model(at: Context, request: Request) -> Response:
    """Unload a model (admin scope)."""
    allow(request, Scope.ADMIN)
    await at.services.scorer.unload_model(request.path_params["name"])
    return Response(status_code=204)


async def live(at: Context, request: Request) -> Response:
    """Whether the process answers; never depends on Redis, models or load."""
    return json_reply(b'{"status":"live"}')


async def ready(at: Context, request: Request) -> Response:
    """Whether requests can be answered now."""
    if not at.services.scorer.is_ready():
        raise NotReady(at.services.scorer.unready_reason(), retry_after_ms=READY_RETRY_MS)
    return json_reply(b'{"status":"ready"}')


async def debug_state(at: Context, request: Request) -> Response:
    """Queues, breakers and loaded versions of this replica (admin scope)."""
    allow(request, Scope.ADMIN)
    return json_reply(dump(at.services.inspector.state()))


async def metrics(at: Context, request: Request) -> Response:
    """Metrics in Prometheus' text format, or in OpenMetrics where that is accepted."""
    body, content_type = at.observer.exposition(request.headers.get("accept", ""))
    return Response(body, headers={"content-type": content_type})


def _manifest(scorer: Scorer, info: ModelInfo) -> Manifest | None:
    try:
        return scorer.manifest(f"{info.name}@{info.version}")
    except NotReady:  # loading, failed, or an ensemble, which has none of its own
        return None
