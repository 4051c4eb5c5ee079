"""text-embeddings-inference over gRPC, through stubs of its own services' names and numbers."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from guerdon_protos.dialects import tei_pb2 as pb
from guerdon_protos.dialects.tei_pb2_grpc import InfoStub, PredictStub, RerankStub
from guerdon_service.core import at_work
from guerdon_service.core.artifact import LoadedModel, ModelSpec
from guerdon_service.core.limits import Limits
from guerdon_service.dialects.ranked import sigmoid
from guerdon_service.rpc.dialects.in_order import MAX_IN_FLIGHT
from guerdon_service.rpc.http2 import calls
from tests.contract.harness import ADMIN_KEY, KEYS, SCORER_KEY, Gate, Served, served
from tests.dialects.conftest import ALL, PROMPT, RESPONSES, Rewards
from tests.dialects.test_pooling import CHATML
from tests.fakes import CodePointEncoder, WeightedSumBackend, manifest
from tests.rpc.http2.peer import LIMITS as SMALL

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXTS = [CHATML.format(prompt=PROMPT, response=response) for response in RESPONSES]


async def each(*messages: Message) -> AsyncIterator[Message]:
    for message in messages:
        yield message


def predict(running: Served) -> Any:
    return PredictStub(running.channel)


async def test_predict(running: Served, rewards: Rewards) -> None:
    for text, reward in zip(TEXTS, await rewards(), strict=True):
        raw = await predict(running).Predict(pb.PredictRequest(inputs=text, raw_scores=True, truncate=True))
        assert [p.label for p in raw.predictions] == ["LABEL_0"]
        assert raw.predictions[0].score == pytest.approx(reward, abs=1e-6)
        default = await predict(running).Predict(pb.PredictRequest(inputs=text))
        assert default.predictions[0].score == pytest.approx(sigmoid(reward), abs=1e-6)


async def test_predict_pair(running: Served, rewards: Rewards) -> None:
    for text, response, reward in zip(TEXTS, RESPONSES, await rewards(), strict=True):
        for inputs in ([text], [PROMPT, response]):
            ask = pb.PredictPairRequest(inputs=inputs, raw_scores=True)
            found = await predict(running).PredictPair(ask)
            assert found.predictions[0].score == pytest.approx(reward, abs=1e-6)


async def test_metadata(running: Served) -> None:
    reply = await predict(running).PredictPair(pb.PredictPairRequest(inputs=["never asked before", "yes"]))
    told = reply.metadata
    assert (told.compute_chars, told.compute_tokens) == (21, 21)
    assert 0 < told.inference_time_ns <= told.total_time_ns


async def test_streams_answer_in_order(running: Served, rewards: Rewards) -> None:
    """More requests than may be at work at once."""
    expected = await rewards()
    times = MAX_IN_FLIGHT // len(RESPONSES) + 2
    pairs = [pb.PredictPairRequest(inputs=[PROMPT, r], raw_scores=True) for r in RESPONSES] * times
    found = [r.predictions[0].score async for r in predict(running).PredictPairStream(each(*pairs))]
    assert found == pytest.approx(expected * times, abs=1e-6)
    texts = [pb.PredictRequest(inputs=text, raw_scores=True) for text in TEXTS]
    found = [r.predictions[0].score async for r in predict(running).PredictStream(each(*texts))]
    assert found == pytest.approx(expected, abs=1e-6)


async def test_a_stream_answers_before_it_ends(running: Served) -> None:
    call = predict(running).PredictStream()
    for text in TEXTS:
        await call.write(pb.PredictRequest(inputs=text))
        assert (await call.read()).predictions[0].label == "LABEL_0"
    await call.done_writing()
    assert await call.code() == grpc.StatusCode.OK


async def test_what_a_compressed_stream_has_answered_counts_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "UNFINISHED_MESSAGES", 1)
    monkeypatch.setattr(at_work, "LEAST_BYTES", 0)
    long = CHATML.format(prompt="x" * 40_000, response="yes")
    async with served(dialects=ALL, limits=SMALL) as it:
        call = predict(it).PredictStream(compression=grpc.Compression.Gzip)
        for _ in range(3):
            await call.write(pb.PredictRequest(inputs=long, truncate=True))
            assert (await call.read()).predictions[0].label == "LABEL_0"
        await call.done_writing()
        assert await call.code() == grpc.StatusCode.OK


async def test_the_first_failure_ends_a_stream(running: Served) -> None:
    asked = [pb.PredictRequest(inputs=text) for text in (TEXTS[0], "no turns", TEXTS[1])]
    answered = []
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for reply in predict(running).PredictStream(each(*asked)):
            answered.append(reply)
    assert (len(answered), caught.value.code()) == (1, grpc.StatusCode.INVALID_ARGUMENT)


async def test_a_cancelled_stream_frees_the_queue() -> None:
    gate = Gate()
    async with served(load=gate.load, dialects=ALL) as it:
        call = predict(it).PredictStream()
        try:
            await call.write(pb.PredictRequest(inputs=TEXTS[0]))
            await gate.until_entered()
            call.cancel()
        finally:
            gate.opened.set()
        reply = await predict(it).Predict(pb.PredictRequest(inputs=TEXTS[1]))
        assert len(reply.predictions) == 1


@pytest.mark.parametrize("raw", [True, False])
async def test_rerank(running: Served, rewards: Rewards, raw: bool) -> None:
    expected = await rewards()
    order = sorted(range(3), key=lambda i: -expected[i])
    values = [expected[i] if raw else sigmoid(expected[i]) for i in order]
    request = pb.RerankRequest(query=PROMPT, texts=RESPONSES, raw_scores=raw, return_text=raw)
    messages = [
        pb.RerankStreamRequest(query=PROMPT, text=r, raw_scores=raw, return_text=raw) for r in RESPONSES
    ]
    stub: Any = RerankStub(running.channel)
    for reply in (await stub.Rerank(request), await stub.RerankStream(each(*messages))):
        assert [rank.index for rank in reply.ranks] == order
        assert [rank.score for rank in reply.ranks] == pytest.approx(values, abs=1e-6)
        assert [rank.text for rank in reply.ranks] == [RESPONSES[i] if raw else "" for i in order]
        assert all(rank.HasField("text") == raw for rank in reply.ranks)


async def test_info(running: Served) -> None:
    stub: Any = InfoStub(running.channel)
    info, rest = await stub.Info(pb.InfoRequest()), (await running.rest.get("/tei/info")).json()
    assert info.model_type == pb.MODEL_TYPE_RERANKER
    for name in ("version", "model_id", "model_sha", "model_dtype", "max_input_length", "max_batch_tokens"):
        assert getattr(info, name) == rest[name], name


@pytest.mark.parametrize(("device", "most"), [("cpu", 40), ("cuda", 120)])
async def test_info_has_the_budget_of_the_models_device(device: str, most: int) -> None:
    limits = Limits(max_batch_tokens=40, max_batch_tokens_cuda=120)
    async with served(ModelSpec("m", "good", device=device), limits=limits, dialects=("tei",)) as it:
        stub: Any = InfoStub(it.channel)
        told = (await stub.Info(pb.InfoRequest())).max_batch_tokens
        assert (told, (await it.rest.get("/info")).json()["max_batch_tokens"]) == (most, most)


async def test_health_of_each_service(running: Served) -> None:
    stub: Any = HealthStub(running.channel)
    for name in ("tei.v1.Info", "tei.v1.Predict", "tei.v1.Rerank", "inference.GRPCInferenceService"):
        assert (await stub.Check(HealthCheckRequest(service=name))).status == HealthCheckResponse.SERVING


@pytest.mark.parametrize("inputs", [[], ["no turns"], ["a", "b", "c"], ["a", "r" * 300], ["a", "\x00" * 70]])
async def test_refused(running: Served, inputs: list[str]) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await predict(running).PredictPair(pb.PredictPairRequest(inputs=inputs))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_not_a_message(running: Served) -> None:
    channel: Any = running.channel
    ask = channel.unary_unary("/tei.v1.Predict/Predict")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(b"\xff")
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_newer_client_is_understood(running: Served, rewards: Rewards) -> None:
    """Fields of a later proto are ignored, as they are there."""
    channel: Any = running.channel
    ask = channel.unary_unary("/tei.v1.Predict/Predict", response_deserializer=pb.PredictResponse.FromString)
    known = pb.PredictRequest(inputs=TEXTS[0], raw_scores=True).SerializeToString()
    reply = await ask(known + b"\xf8\x07\x01")  # field 127
    assert reply.predictions[0].score == pytest.approx((await rewards())[0], abs=1e-6)


@pytest.mark.parametrize(("key", "code"), [(None, "UNAUTHENTICATED"), (ADMIN_KEY, "PERMISSION_DENIED")])
async def test_keys(key: str | None, code: str) -> None:
    async with served(keys=KEYS, dialects=("tei",)) as it:
        metadata = (("authorization", f"Bearer {key}"),) if key else ()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await predict(it).Predict(pb.PredictRequest(inputs=TEXTS[0]), metadata=metadata)
        assert caught.value.code() == grpc.StatusCode[code]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            asked = each(pb.PredictRequest(inputs=TEXTS[0]))
            await predict(it).PredictStream(asked, metadata=metadata).read()
        assert caught.value.code() == grpc.StatusCode[code]
        good = (("authorization", f"Bearer {SCORER_KEY}"),)
        assert (await predict(it).Predict(pb.PredictRequest(inputs=TEXTS[0]), metadata=good)).predictions


async def test_off_by_default() -> None:
    async with served(dialects=("vllm",)) as it:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await predict(it).Predict(pb.PredictRequest(inputs=TEXTS[0]))
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def load_broken(spec: ModelSpec) -> LoadedModel:
    """Its source says what is wrong."""

    def before() -> None:
        assert spec.source != "broken"

    return LoadedModel(spec, manifest(spec.name), CodePointEncoder(), WeightedSumBackend(before=before))


@pytest.mark.parametrize(("wrong", "code"), [("broken", "FAILED_PRECONDITION"), ("draining", "UNAVAILABLE")])
async def test_statuses_are_that_servers(wrong: str, code: str) -> None:
    async with served(ModelSpec("fake", wrong), load=load_broken, dialects=("tei",)) as it:
        if wrong == "draining":
            it.service.begin_drain()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await predict(it).Predict(pb.PredictRequest(inputs=TEXTS[0]))
        assert caught.value.code() == grpc.StatusCode[code]


async def test_past_the_deadline() -> None:
    gate = Gate()
    limits = Limits(max_queued_tokens=40, max_batch_tokens=40, default_deadline_s=0.3)
    async with served(load=gate.load, limits=limits, dialects=("tei",)) as it:
        asked = [pb.PredictPairRequest(inputs=[PROMPT, r]) for r in RESPONSES]
        calls = [predict(it).PredictPair(ask) for ask in asked]
        try:
            codes = [await call.code() for call in calls]
        finally:
            gate.opened.set()
    assert set(codes) <= {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED}


async def test_a_full_queue_holds_the_caller(rewards: Rewards) -> None:
    """One in the forward, one in the queue, the third is held until there is room."""
    gate = Gate()
    limits = Limits(max_queued_tokens=40, max_batch_tokens=40)
    async with served(load=gate.load, limits=limits, dialects=("tei",)) as it:
        asked = [pb.PredictPairRequest(inputs=[PROMPT, r], raw_scores=True) for r in RESPONSES]
        calls = [asyncio.ensure_future(predict(it).PredictPair(ask)) for ask in asked]
        try:
            await gate.until_entered()
        finally:
            gate.opened.set()
        found = [reply.predictions[0].score for reply in await asyncio.gather(*calls)]
    assert found == pytest.approx(await rewards(), abs=1e-6)


async def test_a_stream_to_one_reply_is_bounded_as_one_request() -> None:
    """It ends while the caller still writes, whether its texts are too many or too long."""
    for limits, text in ((Limits(max_items=8), "a"), (Limits(max_body_bytes=4096), "a" * 1000)):

        async def endless(text: str = text) -> AsyncIterator[Message]:
            while True:
                yield pb.RerankStreamRequest(query="", text=text)

        async with served(limits=limits, dialects=("tei",)) as it:
            stub: Any = RerankStub(it.channel)
            for _ in range(5):
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await asyncio.wait_for(stub.RerankStream(endless()), 60)
                if "execute_batch" not in caught.value.debug_error_string():
                    break  # else grpcio's client failed on writing on, and never looked at the answer
            assert "split it" in (caught.value.details() or "")
        code = "INVALID_ARGUMENT" if text == "a" else "RESOURCE_EXHAUSTED"
        assert caught.value.code() == grpc.StatusCode[code]
