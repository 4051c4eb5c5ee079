"""Every route in one table: what mounts it, documents it and says who may call it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from starlette.types import ASGIApp

from guerdon_service.core.auth import Scope
from guerdon_service.core.evaluation import REPORT_FORMATS
from guerdon_service.rest import (
    audit,
    audit_schema,
    best_of_n,
    best_of_n_schema,
    dataset,
    dataset_schema,
    evaluation,
    evaluation_schema,
    feedback,
    feedback_schema,
    policy_evaluation,
    policy_evaluation_schema,
    registry,
    registry_schema,
    routes,
)
from guerdon_service.rest import reply_schema as reply
from guerdon_service.rest import request_schema as request

_SCORE, _ADMIN = Scope.SCORE, Scope.ADMIN
_BODY = (413, 415, 422, 429)
_LOAD = (404, *_BODY, 500, 503)
_VERB = (*_LOAD, 504)
_SEEN = (404, 503)
_METRICS = {
    "text/plain": "Prometheus' text format.",
    "application/openmetrics-text": "OpenMetrics, with a trace's id at each bucket.",
}
EVENTS = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Row:
    """One route. `endpoint` has its name and summary; `errors` are statuses besides those of its key."""

    method: str
    path: str
    endpoint: Callable[..., Awaitable[ASGIApp]]
    reply: type[BaseModel] | None
    request: type[BaseModel] | None = None
    status: int = 200
    errors: tuple[int, ...] = ()
    scope: Scope | None = None
    """Scope that its key needs; None: any key will do."""
    is_open: bool = False
    """Whether it needs no key."""
    text: Mapping[str, str] = field(default_factory=dict)
    """Media types of replies that are not JSON, and what they hold; with `reply`, of its other form."""
    query: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Parameters in the query, each with its values; the first is the default."""

    @property
    def name(self) -> str:
        """The verb, as metrics and the OpenAPI document name it."""
        name: str = self.endpoint.__name__
        return name


def _scoring() -> tuple[Row, ...]:
    given: dict[str, Any] = {"status": 200, "errors": _VERB, "scope": _SCORE}
    choice = best_of_n_schema
    events = {EVENTS: "Events `candidate`, then `result`, or `error`, when `stream` is true."}
    return (
        Row("POST", "/v1/score", routes.score, reply.ScoreResponse, request.ScoreRequest, **given),
        Row("POST", "/v1/compare", routes.compare, reply.CompareResponse, request.CompareRequest, **given),
        Row("POST", "/v1/rank", routes.rank, reply.RankResponse, request.RankRequest, **given),
        Row(
            "POST",
            "/v1/best-of-n",
            best_of_n.best_of_n,
            choice.BestOfNResponse,
            choice.BestOfNRequest,
            text=events,
            **given,
        ),
    )


def _evaluations() -> tuple[Row, ...]:
    here, shape, one = evaluation, evaluation_schema, "/v1/evaluations/{id}"
    page = {
        "text/html": "One self-contained page.",
        "text/markdown": "The same for a pull request.",
        "text/plain": "The same for a terminal, with the verdict as its last line.",
    }
    events = {EVENTS: "Events `progress`, then `result`, or `error`."}
    seen: dict[str, Any] = {"errors": _SEEN}
    return (
        Row(
            "POST",
            "/v1/evaluations",
            here.start_evaluation,
            shape.EvaluationDetail,
            shape.EvaluationRequest,
            202,
            _LOAD,
            _SCORE,
        ),
        Row("GET", "/v1/evaluations", here.list_evaluations, shape.EvaluationList, errors=(503,)),
        Row("GET", one, here.get_evaluation, shape.EvaluationDetail, **seen),
        Row("GET", f"{one}/events", here.follow_evaluation, None, text=events, **seen),
        Row(
            "GET",
            f"{one}/report",
            here.get_report,
            None,
            text=page,
            query={"format": REPORT_FORMATS},
            errors=(*_SEEN, 422),
        ),
        Row("DELETE", one, here.cancel_evaluation, shape.EvaluationDetail, **seen),
    )


def _policy_evaluations() -> tuple[Row, ...]:
    shape = policy_evaluation_schema
    return (
        Row(
            "POST",
            "/v1/policy-evaluations",
            policy_evaluation.evaluate_policy,
            shape.PolicyEvaluation,
            shape.PolicyEvaluationRequest,
            errors=_VERB,
            scope=_SCORE,
            text={EVENTS: "Events `progress`, then `result`, or `error`, when `stream` is true."},
        ),
    )


def _versions() -> tuple[Row, ...]:
    here, shape, all_of_one = registry, registry_schema, "/v1/models/{name}/versions"
    return (
        Row(
            "GET",
            "/v1/registered-models",
            here.list_registered_models,
            shape.RegisteredModelList,
            errors=(503,),
        ),
        Row(
            "POST",
            all_of_one,
            here.register_model,
            shape.ModelVersion,
            shape.RegisterRequest,
            201,
            _LOAD,
            _ADMIN,
        ),
        Row("GET", all_of_one, here.get_history, shape.ModelHistory, errors=_SEEN),
        Row(
            "GET",
            f"{all_of_one}/{{version}}/card",
            here.get_card,
            None,
            text={"text/markdown": "As its training wrote it."},
            errors=_SEEN,
        ),
    )


def _aliases() -> tuple[Row, ...]:
    here, shape = registry, registry_schema
    changes = (
        ("promote", here.promote_model, shape.PromoteRequest, (409, *_LOAD)),
        ("rollback", here.rollback_model, shape.RollbackRequest, _LOAD),
        ("remove-alias", here.remove_alias, shape.RemoveAliasRequest, (404, *_BODY, 503)),
    )
    return tuple(
        Row("POST", f"/v1/models/{{name}}/{verb}", change, shape.AliasChange, asked, 200, errors, _ADMIN)
        for verb, change, asked, errors in changes
    )


TABLE = (
    *_scoring(),
    Row("GET", "/v1/policies", best_of_n.list_policies, best_of_n_schema.PolicyList),
    Row(
        "POST",
        "/v1/datasets",
        dataset.add_dataset,
        dataset_schema.Dataset,
        dataset_schema.DatasetRequest,
        201,
        (*_BODY, 503),
        _ADMIN,
    ),
    *_evaluations(),
    *_policy_evaluations(),
    Row("GET", "/v1/models", routes.list_models, reply.ModelList),
    Row("POST", "/v1/models", routes.load_model, reply.ModelDetail, request.ModelSpec, 201, _LOAD, _ADMIN),
    Row("GET", "/v1/models/{name}", routes.get_model, reply.ModelDetail, errors=(404,)),
    Row("DELETE", "/v1/models/{name}", routes.unload_model, None, None, 204, (404, 422), _ADMIN),
    *_versions(),
    *_aliases(),
    Row(
        "POST",
        "/v1/feedback",
        feedback.submit_feedback,
        feedback_schema.FeedbackResponse,
        feedback_schema.FeedbackRequest,
        201,
        (*_BODY, 503),
        _SCORE,
    ),
    Row(
        "GET",
        "/v1/audit",
        audit.list_acts,
        audit_schema.AuditLog,
        errors=(422, 503),
        scope=_ADMIN,
        query={"limit": audit.LIMITS},
    ),
    Row("GET", "/v1/feedback/agreement", feedback.get_agreement, feedback_schema.Agreement, errors=(503,)),
    Row("GET", "/debug/state", routes.debug_state, reply.DebugState, scope=_ADMIN),
    Row("GET", "/health/live", routes.live, reply.Health, is_open=True),
    Row("GET", "/health/ready", routes.ready, reply.Health, errors=(503,), is_open=True),
    Row("GET", "/metrics", routes.metrics, None, text=_METRICS),
)

PUBLIC = tuple(row for row in TABLE if row.scope is not Scope.ADMIN)
"""What is left where administrators have a port of their own."""

OPEN_PATHS = frozenset(row.path for row in TABLE if row.is_open)
"""All that an unknown caller may ask; everything else, documentation included, needs a key."""
