"""Deadlines, cancellation, keys, ids, health and reflection."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_service.core.limits import Limits
from tests.contract.harness import ADMIN_KEY, KEYS, SCORER_KEY, Gate, Served, Watching, refusal, served
from tests.rpc.raw import refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

GOOD = pb.ScoreRequest(items=[pb.ScoreItem(prompt="p", response="r")])
REQUESTS: dict[str, Any] = {
    "Score": GOOD,
    "Compare": pb.CompareRequest(pairs=[pb.Pair(prompt="p", a="a", b="b")]),
    "Rank": pb.RankRequest(prompt="p", candidates=["c"]),
    "ListModels": pb.ListModelsRequest(),
    "ListPolicies": pb.ListPoliciesRequest(),
    "AddDataset": pb.AddDatasetRequest(name="d.jsonl", records=["{}"]),
    "CancelEvaluation": pb.CancelEvaluationRequest(id="e1"),
    "ListEvaluations": pb.ListEvaluationsRequest(),
    "GetEvaluationReport": pb.GetEvaluationReportRequest(id="e1"),
    "SubmitFeedback": pb.SubmitFeedbackRequest(prompt="p", chosen="a", rejected="b"),
    "GetAgreement": pb.GetAgreementRequest(),
    "RegisterModel": pb.RegisterModelRequest(name="m", source="good"),
    "ListRegisteredModels": pb.ListRegisteredModelsRequest(),
    "GetModelHistory": pb.GetModelHistoryRequest(name="m"),
    "GetModelCard": pb.GetModelCardRequest(name="m", version="1"),
    "PromoteModel": pb.PromoteModelRequest(name="m", version="1", override_reason="a test"),
    "RollbackModel": pb.RollbackModelRequest(name="m", reason="a test"),
    "RemoveAlias": pb.RemoveAliasRequest(name="m", alias="candidate", reason="a test"),
}
STREAMS: dict[str, Any] = {
    "BestOfN": pb.BestOfNRequest(policy="echo", prompt="p", n=2),
    "Evaluate": pb.EvaluateRequest(candidate="m", dataset="d.jsonl"),
    "EvaluatePolicy": pb.EvaluatePolicyRequest(policies=["echo"], prompts=[pb.PolicyPrompt(prompt="p")]),
}
ANY_KEY = (
    *("ListModels", "ListRegisteredModels", "GetModelHistory", "GetModelCard", "ListPolicies"),
    *("GetAgreement", "CancelEvaluation", "ListEvaluations", "GetEvaluationReport"),
)
ADMIN = ("RegisterModel", "PromoteModel", "RollbackModel", "RemoveAlias", "AddDataset")
NAMES = ("", "guerdon.v1.RewardService")


def bearer(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


@pytest.mark.parametrize("native", [True, False])
async def test_the_earlier_deadline_counts(native: bool) -> None:
    gate = Gate()
    request = pb.ScoreRequest(items=GOOD.items, deadline_ms=60_000 if native else 100)
    async with served(load=gate.load) as it:
        try:
            with pytest.raises(grpc.aio.AioRpcError) as err:
                await it.stub.Score(request, timeout=0.1 if native else 60)
        finally:
            gate.opened.set()
        assert err.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        if not native:
            told = refusal(err.value)
            assert (told.code, told.param) == ("deadline_exceeded", "deadline_ms")
        assert len((await it.stub.Score(GOOD)).scores) == 1


@pytest.mark.parametrize("verb", ["Score", "Compare", "Rank"])
async def test_cancelling_cancels_the_work(verb: str) -> None:
    gate, observer = Gate(), Watching()
    async with served(load=gate.load, observer=observer) as it:
        try:
            other = pb.ScoreRequest(items=[pb.ScoreItem(prompt="stays", response="r")])
            staying = asyncio.create_task(_score(it, other))
            await gate.until_entered()
            leaving = getattr(it.stub, verb)(REQUESTS[verb])
            await observer.until(lambda: observer.num_admitted == 2)
            leaving.cancel()
            await observer.until(lambda: "cancelled" in observer.codes)
        finally:
            gate.opened.set()
        assert (await staying).scores
        assert gate.backends[0].num_forwards == 1, "the cancelled call was scored all the same"


async def _score(it: Served, request: pb.ScoreRequest) -> Any:
    return await it.stub.Score(request)


async def test_a_full_queue_pushes_back() -> None:
    gate, observer = Gate(), Watching()
    async with served(load=gate.load, observer=observer, limits=Limits(max_queued_tokens=1)) as it:
        waiting = []
        try:
            for n in range(2):  # one is forwarded, one waits
                request = pb.ScoreRequest(items=[pb.ScoreItem(prompt=f"n{n}", response="r")])
                waiting.append(asyncio.create_task(_score(it, request)))
                await gate.until_entered()
                await observer.until(lambda n=n: observer.num_admitted == n + 1)  # type: ignore[misc]
            with pytest.raises(grpc.aio.AioRpcError) as err:
                await it.stub.Score(GOOD)
        finally:
            gate.opened.set()
        assert err.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        told = refusal(err.value)
        metadata: Any = err.value.trailing_metadata()
        assert told.code == "overloaded"
        assert told.retry_after_ms is not None and told.retry_after_ms > 0
        assert dict(iter(metadata))["grpc-retry-pushback-ms"] == str(told.retry_after_ms)
        assert all(reply.scores for reply in await asyncio.gather(*waiting))


async def test_every_method_needs_a_known_key_and_health_none() -> None:
    async with served(keys=KEYS) as it:
        for metadata in ((), bearer("wrong"), (("authorization", f"Basic {SCORER_KEY}"),)):
            for name, request in (REQUESTS | STREAMS).items():
                status, told = await refused(it.channel, name, request.SerializeToString(), metadata=metadata)
                assert (status, told.code) == (grpc.StatusCode.UNAUTHENTICATED, "unauthenticated"), name
            assert await _stream_status(it, metadata) == grpc.StatusCode.UNAUTHENTICATED
            assert await _reflection_status(it, metadata) == grpc.StatusCode.UNAUTHENTICATED
            status, _ = await refused(it.channel, "NoSuchMethod", b"", metadata=metadata)
            assert status == grpc.StatusCode.UNAUTHENTICATED
        health = health_pb2_grpc.HealthStub(it.channel)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == 1


async def test_every_method_works_with_its_scope_alone() -> None:
    async with served(keys=KEYS) as it:
        for name, request in (STREAMS | REQUESTS).items():
            for key in (SCORER_KEY, ADMIN_KEY):
                has_scope = name in ANY_KEY or (key == ADMIN_KEY) == (name in ADMIN)
                assert (await _code(it, name, request, key) is None) == has_scope, (name, key)
        assert await _stream_status(it, bearer(ADMIN_KEY)) == grpc.StatusCode.PERMISSION_DENIED
        assert await _stream_status(it, bearer(SCORER_KEY)) == grpc.StatusCode.OK
        assert await _reflection_status(it, bearer(SCORER_KEY)) == grpc.StatusCode.OK


async def _code(it: Served, name: str, request: Any, key: str) -> str | None:
    """What the call is refused with for want of a scope; None when it got further."""
    call = getattr(it.stub, name)(request, metadata=bearer(key))
    try:
        if name in STREAMS:
            assert [message async for message in call]
        else:
            assert await call
    except grpc.aio.AioRpcError as err:
        told = refusal(err).code
        return told if told == "permission_denied" else None
    return None


async def _stream_status(it: Served, metadata: Any) -> grpc.StatusCode:
    call = it.stub.ScoreStream(iter(()), metadata=metadata)
    return await call.code()  # type: ignore[no-any-return]


async def _reflection_status(it: Served, metadata: Any) -> grpc.StatusCode:
    stub = reflection_pb2_grpc.ServerReflectionStub(it.channel)
    return await stub.ServerReflectionInfo(iter(()), metadata=metadata).code()  # type: ignore[no-any-return]


async def test_request_ids_are_kept_and_echoed(running: Served) -> None:
    call = running.stub.Score(GOOD, metadata=(("x-request-id", "mine"),))
    assert (await call).request_id == "mine"
    trailers: Any = await call.trailing_metadata()
    assert dict(iter(trailers))["x-request-id"] == "mine"
    with pytest.raises(grpc.aio.AioRpcError) as err:
        await running.stub.Score(pb.ScoreRequest(), metadata=(("x-request-id", "mine"),))
    trailers = err.value.trailing_metadata()
    assert dict(iter(trailers))["x-request-id"] == "mine"
    assert len((await running.stub.Score(GOOD)).request_id) == 32


@pytest.mark.parametrize("name", NAMES)
async def test_health_follows_readiness(name: str) -> None:
    async with served() as it:
        stub = health_pb2_grpc.HealthStub(it.channel)
        request = health_pb2.HealthCheckRequest(service=name)
        watch = stub.Watch(request)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        it.service.begin_drain()
        assert (await stub.Check(request)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert {s.status for s in (await stub.List(health_pb2.HealthListRequest())).statuses.values()} == {2}
        watch.cancel()


async def test_health_of_an_unknown_service(running: Served) -> None:
    stub = health_pb2_grpc.HealthStub(running.channel)
    request = health_pb2.HealthCheckRequest(service="nobody")
    with pytest.raises(grpc.aio.AioRpcError) as err:
        await stub.Check(request)
    assert err.value.code() == grpc.StatusCode.NOT_FOUND
    watch = stub.Watch(request)
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


async def test_reflection_tells_the_whole_interface(running: Served) -> None:
    ask = reflection_pb2.ServerReflectionRequest
    stub = reflection_pb2_grpc.ServerReflectionStub(running.channel)
    asked = [ask(list_services=""), ask(file_containing_symbol=NAMES[1])]
    listed, described = [reply async for reply in stub.ServerReflectionInfo(iter(asked))]
    names = {service.name for service in listed.list_services_response.service}
    assert {NAMES[1], "grpc.health.v1.Health"} <= names
    file = FileDescriptorProto.FromString(described.file_descriptor_response.file_descriptor_proto[0])
    (service,) = file.service
    assert {m.name for m in service.method} == {*REQUESTS, *STREAMS, "ScoreStream"}
    for name in (*REQUESTS, *STREAMS):
        status, told = await refused(running.channel, name, b"\xff")
        assert (status, told.code) == (grpc.StatusCode.INVALID_ARGUMENT, "invalid_input"), (
            "declared, not served"
        )
