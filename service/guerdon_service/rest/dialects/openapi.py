"""The dialects' part of the OpenAPI document: where each stands, what for, and the shape of its failures.

Bodies are told in words: their schemas are other projects' documents, and every field that is read is named.
"""

import re
from typing import Any

from guerdon_service.core.errors import InvalidInput
from guerdon_service.rest.dialects.mount import Mounted, Place

_PARAMETER = re.compile(r"{(\w+)}")
_SAMPLE = InvalidInput("query is missing or null; give a string", param="query")


def with_dialects(document: dict[str, Any], mounted: Mounted) -> dict[str, Any]:
    """`document` with the routes of the dialects that are on, a tag each."""
    for place in mounted.places:
        operations = document["paths"].setdefault(place.route.path, {})
        operations[place.row.method.lower()] = _operation(place)
    return document


def _operation(place: Place) -> dict[str, Any]:
    row, path = place.row, place.route.path
    is_prefixed = path.startswith(f"/{place.name}/")
    summary, _, description = (row.answer.__doc__ or "").partition("\n")
    operation: dict[str, Any] = {
        "operationId": "_".join(re.findall(r"\w+", path if is_prefixed else f"root{path}")),
        "tags": [place.name],
        "summary": summary,
        "responses": {
            "200": {"description": "OK", "content": {"application/json": {"schema": {}}}},
            "default": {"description": "A failure, in the dialect's own shape.", "content": _error(place)},
        },
    }
    if description:
        operation["description"] = "\n".join(line.strip() for line in description.strip().splitlines())
    if row.method == "POST":
        operation["requestBody"] = {"required": True, "content": _body(place)}
    if parameters := _PARAMETER.findall(path):
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
            for name in parameters
        ]
    if row.is_open:
        operation["security"] = []
    return operation


def _body(place: Place) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}
    return content | ({"application/octet-stream": {}} if place.row.any_media else {})


def _error(place: Place) -> dict[str, Any]:
    status = place.dialect.status_of(_SAMPLE)
    example = place.dialect.error(_SAMPLE, status, _SAMPLE.message)
    return {"application/json": {"schema": {"type": "object"}, "example": example}}
