"""Replies that are no scores: health, metrics, models, ids, and what the framework itself refuses."""

import json
import logging

import pytest

from guerdon_service.core.artifact import LoadedModel, ModelSpec
from guerdon_service.core.ports import ForwardStats
from tests.contract.harness import Served, served
from tests.fakes import CodePointEncoder, WeightedSumBackend, manifest

pytestmark = pytest.mark.asyncio(loop_scope="module")

BODY = {"items": [{"prompt": "p", "response": "r"}]}


async def test_live_and_ready(running: Served) -> None:
    assert (await running.rest.get("/health/live")).json() == {"status": "live"}
    assert (await running.rest.get("/health/ready")).json() == {"status": "ready"}


async def test_a_draining_service_lives_but_is_not_ready() -> None:
    async with served() as it:
        it.service.begin_drain()
        assert (await it.rest.get("/health/live")).status_code == 200
        response = await it.rest.get("/health/ready")
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert response.json()["error"] == {
            "code": "not_ready",
            "message": "the service is draining",
            "param": None,
            "retry_after_ms": 1000,
        }
        refused = await it.rest.post("/v1/score", json=BODY)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")


async def test_score_reply_has_exactly_the_documented_fields(running: Served) -> None:
    reply = (await running.rest.post("/v1/score", json=BODY)).json()
    assert list(reply) == ["model", "scores", "usage", "request_id"]
    assert list(reply["model"]) == ["name", "version", "digest", "profile", "backend", "dtype"]
    assert list(reply["scores"][0]) == ["reward", "attributes", "raw", "std", "tokens", "truncated", "cached"]
    assert list(reply["usage"]) == [
        "items",
        "tokens",
        "cached",
        "tokenize_ms",
        "queue_ms",
        "forward_ms",
        "total_ms",
    ]


@pytest.mark.parametrize("given", ["abc", "a" * 128, "~!-_./"])
async def test_a_request_id_is_kept(running: Served, given: str) -> None:
    response = await running.rest.post("/v1/score", json=BODY, headers={"x-request-id": given})
    assert response.headers["x-request-id"] == response.json()["request_id"] == given


@pytest.mark.parametrize("given", [b"", b"a" * 129, b"a b", "ü".encode()])
async def test_another_request_id_is_made(running: Served, given: bytes) -> None:
    headers = {b"x-request-id": given}
    first, second = [await running.rest.post("/v1/score", json=BODY, headers=headers) for _ in range(2)]
    assert first.headers["x-request-id"] == first.json()["request_id"]
    assert len(first.json()["request_id"]) == 32
    assert first.json()["request_id"] != second.json()["request_id"]


async def test_errors_carry_the_request_id_in_the_header(running: Served) -> None:
    response = await running.rest.post("/v1/score", json={}, headers={"x-request-id": "mine"})
    assert (response.status_code, response.headers["x-request-id"]) == (422, "mine")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/v1/score", 405, "method_not_allowed"),
        ("POST", "/v1/score/", 404, "not_found"),
        ("PUT", "/v1/models", 405, "method_not_allowed"),
        ("GET", "/v1/models/nobody", 404, "unknown_model"),
        ("DELETE", "/v1/models/nobody", 404, "unknown_model"),
        ("GET", "/v1/models/%ED%A0%80", 404, "unknown_model"),
    ],
)
async def test_every_failure_has_the_one_shape(
    running: Served, method: str, path: str, status: int, code: str
) -> None:
    response = await running.rest.request(method, path)
    assert response.status_code == status
    error = response.json()["error"]
    assert list(error) == ["code", "message", "param", "retry_after_ms"]
    assert error["code"] == code
    assert response.headers["x-request-id"]
    assert status != 405 or response.headers["allow"]


async def test_metrics_count_by_verb_and_code() -> None:
    async with served() as it:
        await it.rest.post("/v1/score", json=BODY)
        await it.rest.post("/v1/rank", json={"prompt": "p", "candidates": []})
        await it.rest.get("/nobody-is-here")
        response = await it.rest.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    for line in (
        'guerdon_requests_total{code="ok",transport="rest",verb="score"} 1.0',
        'guerdon_requests_total{code="invalid_input",transport="rest",verb="rank"} 1.0',
        'guerdon_requests_total{code="404",transport="rest",verb="other"} 1.0',
        'guerdon_tokens_total{model="fake"} 2.0',
    ):
        assert line in response.text.splitlines()


async def test_models_come_and_go() -> None:
    async with served() as it:
        loaded = await it.rest.post("/v1/models", json={"name": "second", "source": "double"})
        assert loaded.status_code == 201
        assert loaded.json()["state"] == "ready"
        named = (await it.rest.get("/v1/models")).json()["models"]
        assert [(m["name"], m["default"]) for m in named] == [("fake", True), ("second", False)]
        scored = await it.rest.post("/v1/score", json=BODY | {"model": "second"})
        assert scored.json()["model"]["name"] == "second"
        ensemble = {"name": "both", "members": ["fake", "second"], "conservatism": 1}
        assert (await it.rest.post("/v1/models", json=ensemble)).json()["manifest"] is None
        blocked = await it.rest.delete("/v1/models/second")
        assert (blocked.status_code, blocked.json()["error"]["param"]) == (422, "name")
        for name in ("both", "second"):
            assert (await it.rest.delete(f"/v1/models/{name}")).status_code == 204
        assert (await it.rest.post("/v1/score", json=BODY | {"model": "second"})).status_code == 404


async def test_a_model_shows_its_whole_manifest(running: Served) -> None:
    shown = (await running.rest.get("/v1/models/fake")).json()
    assert shown["heads"] == ["quality", "brevity"]
    assert shown["profiles"] == ["quality", "both"]
    told = shown["manifest"]
    assert told["calibration"] == {"slope": 0.5, "slope_se": 0.05, "num_pairs": 100}
    assert told["profiles"]["both"]["weights"] == {"quality": 0.5, "brevity": -0.1}
    assert [head["norm"] for head in told["heads"]] == [{"mean": 0.0, "std": 1.0}] * 2


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"source": "good"}, "name"),
        ({"name": "a/b", "source": "good"}, "name"),
        ({"name": "", "source": "good"}, "name"),
        ({"name": "\ud800", "source": "good"}, "name"),
        ({"name": "x"}, "source"),
        ({"name": "x", "source": "good", "members": ["fake"]}, "source"),
        ({"name": "x", "source": "\ud800"}, "source"),
        ({"name": "x", "source": "bad"}, "source"),
        ({"name": "x", "members": ["fake", 3]}, "members[1]"),
        ({"name": "x", "members": ["fake"]}, "members"),
        ({"name": "x", "members": ["fake", "fake"], "conservatism": "1"}, "conservatism"),
        ({"name": "x", "source": "good", "trust_remote_code": True}, "trust_remote_code"),
        ({"name": "fake", "source": "good"}, "name"),
    ],
)
async def test_a_bad_model_is_refused_by_name(running: Served, body: dict[str, object], param: str) -> None:
    response = await running.rest.post(
        "/v1/models", content=json.dumps(body), headers={"content-type": "application/json"}
    )
    assert response.status_code == 422
    assert response.json()["error"]["param"] == param


async def test_our_own_bug_is_told_without_its_details(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(CodePointEncoder):
        def encode(self, conversation: object, param: str) -> object:  # type: ignore[override]
            raise KeyError("a secret detail")

    def load(spec: ModelSpec) -> LoadedModel:
        return LoadedModel(spec, manifest(spec.name), Broken(), WeightedSumBackend())  # type: ignore[arg-type]

    async with served(load=load) as it:
        with caplog.at_level(logging.ERROR):
            response = await it.rest.post("/v1/score", json=BODY, headers={"x-request-id": "find-me"})
        assert response.status_code == 500
        assert response.json()["error"]["code"] == "internal"
        assert "secret" not in response.text
        assert response.headers["x-request-id"] == "find-me"
        logged = [r for r in caplog.records if r.exc_info and getattr(r, "request_id", "") == "find-me"]
        assert "a secret detail" in str(logged[0].exc_info)
        assert (await it.rest.get("/health/live")).status_code == 200


async def test_a_failing_back_end_is_500_without_its_details() -> None:
    class Failing(WeightedSumBackend):
        def forward(self, batch: object) -> tuple[object, ForwardStats]:  # type: ignore[override]
            raise RuntimeError("a secret detail")

    def load(spec: ModelSpec) -> LoadedModel:
        return LoadedModel(spec, manifest(spec.name), CodePointEncoder(), Failing())  # type: ignore[arg-type]

    async with served(load=load) as it:
        response = await it.rest.post("/v1/score", json=BODY)
        assert (response.status_code, response.json()["error"]["code"]) == (500, "backend_failed")
        assert "secret" not in response.text
