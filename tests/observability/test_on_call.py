"""What whoever is on call can see: exemplars, slow requests, the state of a replica, calls at work."""

import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest
import pytest_asyncio
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_service.app.debug_state import DebugState
from guerdon_service.app.inflight import InFlight
from guerdon_service.app.metrics import PrometheusObserver
from guerdon_service.app.tracked import tracked
from guerdon_service.cache.tiered import open_cache
from guerdon_service.core.artifact import LoadedModel, ModelSpec
from guerdon_service.core.call import trace_id
from guerdon_service.core.ports import NullObserver
from guerdon_service.quota.limiter import Limiter
from tests.contract.harness import ADMIN_KEY, KEYS, Gate, Served, Watching, served
from tests.domain_fakes import services_of
from tests.fakes import CodePointEncoder, WeightedSumBackend, manifest, running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"
BODY = {"items": [{"prompt": "canary", "response": "canary"}]}
REQUEST = pb.ScoreRequest(items=[pb.ScoreItem(prompt="canary", response="canary")])
OPEN_METRICS = {"accept": "application/openmetrics-text; version=1.0.0"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[Served]:
    async with served() as it:
        yield it


async def exemplars(at: Served, transport: str) -> set[str]:
    """Trace ids at the buckets of the time that scoring took."""
    reply = await at.rest.get("/metrics", headers=OPEN_METRICS)
    assert reply.headers["content-type"].startswith("application/openmetrics-text")
    families = text_string_to_metric_families(reply.text)
    samples = [s for family in families if family.name == "guerdon_request_seconds" for s in family.samples]
    return {
        s.exemplar.labels["trace_id"]
        for s in samples
        if s.exemplar and s.labels["transport"] == transport and s.labels["verb"] == "score"
    }


async def test_a_callers_trace_is_the_exemplar_of_its_request(running: Served) -> None:
    await running.rest.post("/v1/score", json=BODY, headers={"traceparent": TRACEPARENT})
    await running.stub.Score(REQUEST, metadata=(("traceparent", TRACEPARENT),))
    assert TRACE in await exemplars(running, "rest")
    assert TRACE in await exemplars(running, "grpc")


async def test_without_a_trace_the_id_that_the_service_made_is(running: Served) -> None:
    reply = await running.rest.post("/v1/score", json=BODY)
    assert reply.headers["x-request-id"] in await exemplars(running, "rest")


async def test_the_plain_text_has_no_exemplars(running: Served) -> None:
    reply = await running.rest.get("/metrics")
    assert reply.headers["content-type"].startswith("text/plain")
    assert "trace_id" not in reply.text


@pytest.mark.parametrize(
    ("traceparent", "request_id", "expected"),
    [
        (TRACEPARENT, "r", TRACE),
        (TRACEPARENT.upper(), "r", ""),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", "r", ""),
        ("nonsense", "a" * 32, "a" * 32),
        (None, "chosen by the caller", ""),
    ],
)
async def test_what_a_trace_is(traceparent: str | None, request_id: str, expected: str) -> None:
    assert trace_id(traceparent, request_id) == expected


async def test_slow_requests_are_logged_without_their_texts(caplog: pytest.LogCaptureFixture) -> None:
    for threshold_s, expected in ((1e-9, ["rest", "grpc"]), (3600.0, [])):
        caplog.clear()
        async with served(observer=PrometheusObserver(threshold_s)) as it:
            with caplog.at_level(logging.WARNING):
                await it.rest.post("/v1/score", json=BODY, headers={"x-request-id": "find-me"})
                await it.stub.Score(REQUEST, metadata=(("x-request-id", "find-me"),))
        lines: list[Any] = [r for r in caplog.records if r.message == "slow request"]
        assert [line.transport for line in lines] == expected
        for line in lines:
            assert (line.verb, line.code, line.request_id) == ("score", "ok", "find-me")
            assert line.seconds >= 0
            assert "canary" not in str(vars(line))


@pytest.mark.parametrize("slow_request_s", [None, 1e-9])
async def test_requests_that_the_back_end_failed_are_logged_by_their_ids(
    caplog: pytest.LogCaptureFixture, slow_request_s: float | None
) -> None:
    """However long they took."""

    def broken() -> None:
        raise RuntimeError("a broken device")

    def load(spec: ModelSpec) -> LoadedModel:
        backend = WeightedSumBackend(before=broken)
        return LoadedModel(spec, manifest(spec.name), CodePointEncoder(), backend)

    async with served(load=load, observer=PrometheusObserver(slow_request_s)) as it:
        await it.rest.post("/v1/score", json=BODY, headers={"x-request-id": "find-me"})
        with pytest.raises(grpc.aio.AioRpcError):
            await it.stub.Score(REQUEST, metadata=(("x-request-id", "me-too"),))
    lines: list[Any] = [r for r in caplog.records if r.message == "failed request"]
    assert [(line.transport, line.request_id) for line in lines] == [("rest", "find-me"), ("grpc", "me-too")]
    assert {line.code for line in lines} == {"backend_failed"}
    assert "canary" not in caplog.text


async def test_calls_at_work_are_counted_while_they_are() -> None:
    gate, observer = Gate(), Watching()
    async with served(load=gate.load, observer=observer) as it:
        call = it.stub.Score(REQUEST)
        work = [call]
        await gate.until_entered()
        assert b'guerdon_calls{transport="grpc"} 1.0' in observer.render()
        gate.opened.set()
        assert len((await work[0]).scores) == 1
        await observer.until(lambda: "ok" in observer.codes)
    assert b'guerdon_calls{transport="grpc"} 0.0' in observer.render()


async def test_the_state_of_a_replica_shows_queues_breakers_and_versions() -> None:
    async with running_service(ModelSpec("fake", "good"), ModelSpec("double", "double")) as service:
        cache = open_cache(NullObserver(), redis_url="redis://127.0.0.1:1/0")
        inner = DebugState(service.catalog, cache)
        faces = tracked(services_of(service, inspector=inner), InFlight(), Limiter({}))
        state = faces.inspector.state()
        await cache.close()
    assert state["ready"]
    assert [(m["name"], m["version"], m["state"]) for m in state["models"]] == [
        ("fake", "1", "ready"),
        ("double", "1", "ready"),
    ]
    assert state["models"][0]["aliases"] == ["champion"]
    queue = state["models"][0]["queue"]
    assert (queue["healthy"], queue["queued_items"], queue["queued_tokens"]) == (True, 0, 0)
    assert state["cache"] == {"entries": 0, "bytes": 0, "redis": {"away": False, "queued_writes": 0}}
    assert state["calls"] == {"under_way": 0, "draining": False}
    assert state["limits"] == {"redis_away": False}


async def test_only_an_admin_sees_it() -> None:
    async with served(keys=KEYS) as it:
        reply = await it.rest.get("/debug/state", headers={"authorization": f"Bearer {ADMIN_KEY}"})
        assert reply.status_code == 200
        assert reply.json()["ready"] is True
