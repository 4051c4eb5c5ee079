"""The OpenAPI document names every route of the dialects that are on, and how it fails."""

from typing import Any

import pytest
import schemathesis

from guerdon_service.rest.table import TABLE
from tests.contract.harness import Served, served

pytestmark = pytest.mark.asyncio(loop_scope="module")

OWN = {row.path for row in TABLE}


async def document_of(running: Served) -> dict[str, Any]:
    document: dict[str, Any] = (await running.rest.get("/openapi.json")).json()
    return document


async def test_every_route_is_there(running: Served) -> None:
    document = await document_of(running)
    schemathesis.openapi.from_dict(document).validate()
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids))
    for path in ("/get_reward", "/vllm/classify", "/classify", "/tei/predict", "/oip/v2/models/{name}/infer"):
        assert path in document["paths"]
    assert document["paths"]["/v2/health/live"]["get"]["security"] == []


async def test_every_path_answers_and_fails_as_told(running: Served) -> None:
    """What is no JSON object gets a failure of the shape that the document shows."""
    for path, operations in (await document_of(running))["paths"].items():
        told = operations.get("post")
        if path in OWN or told is None:
            continue
        reply = await running.rest.post(path.format(name="fake", version="1"), json=[])
        example = told["responses"]["default"]["content"]["application/json"]["example"]
        assert 400 <= reply.status_code < 500 and reply.status_code not in (404, 405), path
        assert reply.json().keys() == example.keys(), path


async def test_off_means_unlisted() -> None:
    async with served() as it:
        assert (await document_of(it))["paths"].keys() == OWN
