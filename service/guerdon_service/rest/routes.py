"""The routes: parse, call, render."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from fastapi import Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from guerdon_service.core.artifact import ModelInfo
from guerdon_service.core.auth import Scope
from guerdon_service.core.call import Call
from guerdon_service.core.errors import InvalidInput, NotReady
from guerdon_service.core.limits import Limits
from guerdon_service.core.manifest import Manifest
from guerdon_service.core.scorer import Scorer, TransportObserver
from guerdon_service.rest.body import read_body
from guerdon_service.rest.decode import decode_compare, decode_rank, decode_score, decode_spec
from guerdon_service.rest.disconnect import while_connected
from guerdon_service.rest.render import (
    render_compare,
    render_model,
    render_models,
    render_rank,
    render_score,
)
from guerdon_service.rest.strict_json import check_depth, parse_json

T = TypeVar("T")

READY_RETRY_MS = 1000
"""When to ask again while the service is not ready, in milliseconds."""


@dataclass(frozen=True, slots=True)
class Routes:
    """One method per route; `docs.py` describes them and `app.py` mounts them."""

    service: Scorer
    limits: Limits
    observer: TransportObserver

    async def score(self, request: Request) -> Response:
        """Score conversations, each on its own."""
        query = await self._parse(request, Scope.SCORE, decode_score)
        result = await while_connected(request, self.service.score(query))
        return _json(render_score(result, query.options.request_id))

    async def compare(self, request: Request) -> Response:
        """Probability that one response is preferred to another."""
        query = await self._parse(request, Scope.SCORE, decode_compare)
        result = await while_connected(request, self.service.compare(query))
        return _json(render_compare(result, query.options.request_id))

    async def rank(self, request: Request) -> Response:
        """Order candidates that answer one prompt, best first."""
        query = await self._parse(request, Scope.SCORE, decode_rank)
        result = await while_connected(request, self.service.rank(query))
        return _json(render_rank(result, query.options.request_id))

    async def list_models(self, request: Request) -> Response:
        """Models that are loaded."""
        return _json(render_models(self.service.models()))

    async def get_model(self, request: Request) -> Response:
        """One model: its state, its whole manifest, and what was inferred about it."""
        info = self.service.model(request.path_params["name"])
        return _json(render_model(info, self._manifest(info)))

    async def load_model(self, request: Request) -> Response:
        """Load one more model (admin scope)."""
        spec = await self._parse(request, Scope.ADMIN, decode_spec)
        info = await self.service.load_model(spec)
        return _json(render_model(info, self._manifest(info)), status=201)

    async def unload_model(self, request: Request) -> Response:
        """Unload a model (admin scope)."""
        request.scope["guerdon.caller"].require(Scope.ADMIN)
        await self.service.unload_model(request.path_params["name"])
        return Response(status_code=204)

    async def live(self, request: Request) -> Response:
        """Whether the process answers; never depends on Redis, models or load."""
        return _json(b'{"status":"live"}')

    async def ready(self, request: Request) -> Response:
        """Whether requests can be answered now."""
        if not self.service.is_ready():
            raise NotReady(self.service.unready_reason(), retry_after_ms=READY_RETRY_MS)
        return _json(b'{"status":"ready"}')

    async def metrics(self, request: Request) -> Response:
        """Metrics in Prometheus' text format."""
        return Response(self.observer.render(), headers={"content-type": CONTENT_TYPE_LATEST})

    def _manifest(self, info: ModelInfo) -> Manifest | None:
        try:
            return self.service.manifest(info.name)
        except NotReady:  # loading, failed, or an ensemble, which has none of its own
            return None

    async def _parse(self, request: Request, scope: Scope, decode: Callable[[object, Call], T]) -> T:
        caller = request.scope["guerdon.caller"]
        caller.require(scope)
        value = parse_json(await read_body(request, self.limits))
        try:
            return decode(value, Call(caller.tenant, request.scope["guerdon.request_id"]))
        except InvalidInput:
            check_depth(value, self.limits.max_json_depth)
            raise


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")
