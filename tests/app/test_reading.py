"""While the event loop stays late, what asks for scores is refused unread, over every transport."""

from contextlib import suppress
from typing import Any

import grpc.aio
import httpx
import pytest

from guerdon_protos.dialects import tei_pb2
from guerdon_protos.dialects.tei_pb2_grpc import PredictStub
from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_protos.v1.guerdon_pb2_grpc import RewardServiceStub
from guerdon_service.core.auth import Scope
from guerdon_service.core.errors import Overloaded
from guerdon_service.core.reading import Reading
from tests.contract.harness import ADMIN_KEY, RIVAL_KEY, SCORER_KEY, refusal
from tests.security.doors import BODY, opened


def drowning() -> Reading:
    """Late for a second, on a clock that stands still then: of a tenant's that fail one is read."""
    now = 0.0
    reading = Reading(lambda: now)
    reading.lagged(1.0)
    now = 1.0
    reading.lagged(1.0)
    with suppress(Overloaded), reading.request("somebody else", Scope.SCORE):
        raise Overloaded("no room", retry_after_ms=1)
    return reading


def _key(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def test_over_rest_a_tenant_has_his_part_and_administrators_and_probes_are_read() -> None:
    dialects = ("tei",)
    async with (
        opened(locked=True, reading=drowning(), dialects=dialects) as at,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{at.port}", trust_env=False) as rest,
    ):
        wrong = await rest.post("/v1/score", json={"items": []}, headers=_key(SCORER_KEY))
        assert wrong.status_code == 422, "it was read"
        refused = await rest.post("/v1/score", content=b"not even JSON", headers=_key(SCORER_KEY))
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert refused.json()["error"]["code"] == "overloaded"
        assert refused.json()["error"]["retry_after_ms"] == 1000
        dialect = await rest.post("/tei/predict", json={"inputs": "a"}, headers=_key(SCORER_KEY))
        assert dialect.status_code == 429
        best = {"policy": "echo", "prompt": "p", "n": 1}
        assert (await rest.post("/v1/best-of-n", json=best, headers=_key(SCORER_KEY))).status_code == 429
        assert (await rest.post("/v1/score", json=BODY, headers=_key(RIVAL_KEY))).status_code == 200
        for _ in range(3):
            assert (await rest.get("/health/live")).status_code == 200
            rollback = await rest.post("/v1/models/m/rollback", json={}, headers=_key(ADMIN_KEY))
            assert rollback.status_code == 422, "it was read"


async def test_over_grpc_calls_and_messages_of_streams_are_refused_alike() -> None:
    metadata: Any = tuple(_key(SCORER_KEY).items())
    asked = pb.ScoreRequest(items=[pb.ScoreItem(prompt="p", response="r")])
    async with (
        opened(locked=True, reading=drowning(), dialects=("tei",)) as at,
        grpc.aio.insecure_channel(f"127.0.0.1:{at.grpc_port}") as channel,
    ):
        stub: Any = RewardServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as err:
            await stub.Score(pb.ScoreRequest(), metadata=metadata)
        assert err.value.code() == grpc.StatusCode.INVALID_ARGUMENT, "it was read"
        with pytest.raises(grpc.aio.AioRpcError) as err:
            await stub.Score(asked, metadata=metadata)
        assert err.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refusal(err.value).code == "overloaded"
        stream = stub.ScoreStream(iter([pb.ScoreStreamRequest(id="a", request=asked)]), metadata=metadata)
        assert [(answer.id, answer.error.code) async for answer in stream] == [("a", "overloaded")]
        for sampled in (
            stub.BestOfN(pb.BestOfNRequest(policy="echo", prompt="p", n=1), metadata=metadata),
            stub.EvaluatePolicy(pb.EvaluatePolicyRequest(), metadata=metadata),
            stub.Evaluate(pb.EvaluateRequest(), metadata=metadata),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as err:
                await sampled.read()
            assert refusal(err.value).code == "overloaded"
        predict: Any = PredictStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as err:
            await predict.Predict(tei_pb2.PredictRequest(inputs="a"), metadata=metadata)
        assert err.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await stub.ListModels(pb.ListModelsRequest(), metadata=metadata)).models
