"""Every route in one table: what mounts it, documents it and says who may call it."""

from dataclasses import dataclass

from pydantic import BaseModel

from guerdon_service.core.auth import Scope
from guerdon_service.rest import reply_schema as reply
from guerdon_service.rest import request_schema as request

_SCORE, _ADMIN = Scope.SCORE, Scope.ADMIN
_LOAD = (404, 413, 415, 422, 500, 503)
_VERB = (*_LOAD, 429, 504)


@dataclass(frozen=True, slots=True)
class Row:
    """One route. `name` is the method of `Routes`; `errors` are statuses besides those of its key."""

    method: str
    path: str
    name: str
    reply: type[BaseModel] | None
    request: type[BaseModel] | None = None
    status: int = 200
    errors: tuple[int, ...] = ()
    scope: Scope | None = None
    """Scope that its key needs; None: any key will do."""
    is_open: bool = False
    """Whether it needs no key."""


TABLE = (
    Row("POST", "/v1/score", "score", reply.ScoreResponse, request.ScoreRequest, 200, _VERB, _SCORE),
    Row("POST", "/v1/compare", "compare", reply.CompareResponse, request.CompareRequest, 200, _VERB, _SCORE),
    Row("POST", "/v1/rank", "rank", reply.RankResponse, request.RankRequest, 200, _VERB, _SCORE),
    Row("GET", "/v1/models", "list_models", reply.ModelList),
    Row("POST", "/v1/models", "load_model", reply.ModelDetail, request.ModelSpec, 201, _LOAD, _ADMIN),
    Row("GET", "/v1/models/{name}", "get_model", reply.ModelDetail, errors=(404,)),
    Row("DELETE", "/v1/models/{name}", "unload_model", None, None, 204, (404, 422), _ADMIN),
    Row("GET", "/health/live", "live", reply.Health, is_open=True),
    Row("GET", "/health/ready", "ready", reply.Health, errors=(503,), is_open=True),
    Row("GET", "/metrics", "metrics", None),
)

OPEN_PATHS = frozenset(row.path for row in TABLE if row.is_open)
"""All that an unknown caller may ask; everything else, documentation included, needs a key."""
