"""The OpenAPI document, from the table of routes."""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from guerdon_service.core.limits import Limits
from guerdon_service.rest.reply_schema import Error
from guerdon_service.rest.table import EVENTS, TABLE, Row

_DESCRIPTION = """\
Rewards of conversations. A reward is a pure function of (artifact digest, conversation): it depends on no
batch mate, cache or transport. Every failure has the one shape `Error`; 429 and 503 say in `Retry-After` when
to try again. `x-request-id` is taken from the request, or made, and stands in every reply.
"""
_LISTS = {
    "ScoreRequest": "items",
    "CompareRequest": "pairs",
    "RankRequest": "candidates",
    "PolicyEvaluationRequest": "prompts",
}
_EVENT = {
    "type": "object",
    "properties": {
        "event": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}
"""One server-sent event; its data is the JSON of the reply, of a part of it, or of an `Error`."""
_PARAMETER = re.compile(r"{(\w+)}")
_REF = "#/components/schemas/{model}"


def openapi_document(version: str, limits: Limits, rows: Sequence[Row] = TABLE) -> dict[str, Any]:
    """OpenAPI 3.1 of the whole REST interface, or of some of its `rows`."""
    paths: dict[str, Any] = {}
    for row in rows:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row)
    schemas = _schemas()
    for name, field in _LISTS.items():
        schemas[name]["properties"][field]["maxItems"] = limits.max_items
    return {
        "openapi": "3.1.0",
        "info": {"title": "Guerdon", "version": version, "description": _DESCRIPTION},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "Only where keys are configured."}
            },
        },
        "security": [{"key": []}],
    }


def _operation(row: Row) -> dict[str, Any]:
    key_errors = () if row.is_open else (401, 403) if row.scope else (401,)
    operation: dict[str, Any] = {
        "operationId": row.name,
        "summary": row.endpoint.__doc__,
        "responses": {str(row.status): _success(row)}
        | {str(status): _content(Error, HTTPStatus(status).phrase) for status in (*key_errors, *row.errors)},
    }
    if row.request is not None:
        operation["requestBody"] = {"required": True} | _content(row.request)
    if parameters := _parameters(row):
        operation["parameters"] = parameters
    if row.is_open:
        operation["security"] = []
    return operation


def _parameters(row: Row) -> list[dict[str, Any]]:
    text = {"type": "string", "minLength": 1}
    return [
        {"name": name, "in": "path", "required": True, "schema": text}
        for name in _PARAMETER.findall(row.path)
    ] + [
        {"name": name, "in": "query", "schema": {"type": "string", "enum": values, "default": values[0]}}
        for name, values in row.query.items()
    ]


def _success(row: Row) -> dict[str, Any]:
    if row.reply is None and not row.text:
        return {"description": "Done."}
    phrase = HTTPStatus(row.status).phrase
    told: dict[str, Any] = {"description": phrase, "content": {}}
    if row.reply is not None:
        told = _content(row.reply, phrase)
    for media_type, description in row.text.items():
        shape = _EVENT if media_type == EVENTS else {"type": "string"}
        told["content"][media_type] = {"schema": shape | {"description": description}}
    return told


def _content(model: type[BaseModel], description: str = "") -> dict[str, Any]:
    schema = {"$ref": _REF.format(model=model.__name__)}
    described = {"description": description} if description else {}
    return described | {"content": {"application/json": {"schema": schema}}}


def _schemas() -> dict[str, Any]:
    requests = [(row.request, "validation") for row in TABLE if row.request]
    replies = [(row.reply, "serialization") for row in TABLE if row.reply]
    models: Any = [*requests, *replies, (Error, "serialization")]
    schemas: dict[str, Any] = models_json_schema(models, ref_template=_REF)[1]["$defs"]
    return schemas
