"""The document describes what the service does: examples work, replies validate."""

from typing import Any

import jsonschema_rs
import pytest
from starlette.routing import Route

from guerdon_service.app.metrics import PrometheusObserver
from guerdon_service.core.auth import Keyring
from guerdon_service.core.limits import Limits
from guerdon_service.rest import app as rest_app
from guerdon_service.rest.app import create_app
from guerdon_service.rest.openapi import openapi_document
from tests.contract.harness import Served, served
from tests.domain_fakes import services_of
from tests.fakes import running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

VERBS = {
    "/v1/score": 200,
    "/v1/compare": 200,
    "/v1/rank": 200,
    "/v1/best-of-n": 200,
    "/v1/policy-evaluations": 200,
    "/v1/evaluations": 202,
    "/v1/models/{name}/versions": 201,
    "/v1/feedback": 201,
}
BUILT_IN = {"/openapi.json"}


async def document(running: Served) -> dict[str, Any]:
    value: dict[str, Any] = (await running.rest.get("/openapi.json")).json()
    return value


def validator(spec: dict[str, Any], schema: dict[str, Any]) -> jsonschema_rs.Validator:
    return jsonschema_rs.Draft202012Validator(schema | {"components": spec["components"]})


def content(part: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = part["content"]["application/json"]["schema"]
    return schema


async def test_every_route_is_documented_and_nothing_else(running: Served) -> None:
    spec = await document(running)
    async with running_service() as service:
        app = create_app(services_of(service), auth=Keyring(), limits=Limits(), observer=PrometheusObserver())
        mounted = {
            (method.lower(), route.path)
            for route in app.routes
            if isinstance(route, Route) and route.path not in BUILT_IN
            for method in (route.methods or set()) - {"HEAD"}  # which every GET route answers too
        }
    assert {(method, path) for path, methods in spec["paths"].items() for method in methods} == mounted
    for methods in spec["paths"].values():
        for operation in methods.values():
            assert operation["summary"]
            assert all(r["description"] for r in operation["responses"].values())


async def test_a_member_that_is_named_twice_is_no_ensemble(running: Served) -> None:
    spec = await document(running)
    valid = validator(spec, spec["components"]["schemas"]["ModelSpec"])
    for members, is_right in ((["fake", "second"], True), (["fake", "fake"], False)):
        body = {"name": "both", "members": members}
        assert valid.is_valid(body) == is_right
        if not is_right:
            assert (await running.rest.post("/v1/models", json=body)).status_code == 422


async def test_it_is_made_once_when_it_is_first_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counted(*given: Any) -> dict[str, Any]:
        made.append(given)
        return openapi_document(*given)

    monkeypatch.setattr(rest_app, "openapi_document", counted)
    async with served() as it:
        assert not made
        assert await document(it) == await document(it)
    assert len(made) == 1


@pytest.mark.parametrize("path", VERBS)
async def test_examples_validate_and_work_and_so_do_their_replies(running: Served, path: str) -> None:
    spec = await document(running)
    operation = spec["paths"][path]["post"]
    name = content(operation["requestBody"])["$ref"].rsplit("/", 1)[1]
    examples = spec["components"]["schemas"][name]["examples"]
    assert examples
    for example in examples:
        validator(spec, content(operation["requestBody"])).validate(example)
        response = await running.rest.post(path.replace("{name}", "m"), json=example)
        assert response.status_code == VERBS[path], response.text
        validator(spec, content(operation["responses"][str(VERBS[path])])).validate(response.json())


@pytest.mark.parametrize(
    ("method", "path", "documented"),
    [
        ("GET", "/v1/models", "/v1/models"),
        ("GET", "/v1/models/fake", "/v1/models/{name}"),
        ("GET", "/v1/models/nobody", "/v1/models/{name}"),
        ("GET", "/health/live", "/health/live"),
        ("GET", "/health/ready", "/health/ready"),
        ("POST", "/v1/score", "/v1/score"),
    ],
)
async def test_replies_validate(running: Served, method: str, path: str, documented: str) -> None:
    spec = await document(running)
    response = await running.rest.request(method, path)
    part = spec["paths"][documented][method.lower()]["responses"][str(response.status_code)]
    validator(spec, content(part)).validate(response.json())


async def test_what_the_registry_and_evaluations_reply_validates(running: Served) -> None:
    spec = await document(running)
    rest = running.rest
    asked: list[tuple[str, str, Any]] = [("POST", f"/v1/models/q/{verb}", body) for verb, body in (
        ("versions", {"source": "one"}), ("versions", {"source": "two"}), ("promote", {"version": "2"}),
        ("promote", {"version": "2", "evaluation_id": "e"}), ("rollback", {"reason": "r"}),
        ("promote", {"version": "2", "evaluation_id": "e", "alias": "next"}),
        ("remove-alias", {"alias": "next", "reason": "r"}),
    )]  # fmt: skip
    asked += [("GET", "/v1/models/q/versions", None), ("GET", "/v1/evaluations", None)]
    one = (await rest.post("/v1/evaluations", json={"candidate": "m", "dataset": "d"})).json()["id"]
    await rest.get(f"/v1/evaluations/{one}/events")
    asked += [("GET", f"/v1/evaluations/{one}", None), ("DELETE", f"/v1/evaluations/{one}", None)]
    for method, path, body in asked:
        response = await rest.request(method, path, json=body)
        documented = path.replace("/q/", "/{name}/").replace(one, "{id}")
        part = spec["paths"][documented][method.lower()]["responses"][str(response.status_code)]
        validator(spec, content(part)).validate(response.json())


async def test_documented_fields_are_the_replies_fields(running: Served) -> None:
    spec = await document(running)
    body = {"pairs": [{"prompt": "p", "a": "a", "b": "b"}]}
    reply = (await running.rest.post("/v1/compare", json=body)).json()
    schemas = spec["components"]["schemas"]
    for name, value in (
        ("CompareResponse", reply),
        ("ModelRef", reply["model"]),
        ("Usage", reply["usage"]),
        ("Preference", reply["preferences"][0]),
        ("Score", reply["preferences"][0]["a"]),
        ("ModelInfo", (await running.rest.get("/v1/models")).json()["models"][0]),
        ("ModelDetail", (await running.rest.get("/v1/models/fake")).json()),
    ):
        assert set(schemas[name]["properties"]) == set(value), name


async def test_the_page_is_served(running: Served) -> None:
    moved = await running.rest.get("/docs")
    assert (moved.status_code, moved.headers["location"]) == (308, "console/#/api")
    home = await running.rest.get("/")
    assert (home.status_code, home.headers["location"]) == (308, "console/")
    page = await running.rest.get("/docs", follow_redirects=True)
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
