"""Rerankers' and text-embeddings-inference's dialects, through their own clients.

Synchronous ones run in a thread: the service answers on the test's loop.
"""

import asyncio
import json
import math
from functools import partial

import cohere
import httpx
import pytest
import voyageai.error
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from text_embeddings_inference_client import Client as TeiClient
from text_embeddings_inference_client.api.text_embeddings_inference import get_model_info as tei_info
from text_embeddings_inference_client.api.text_embeddings_inference import health as tei_health
from text_embeddings_inference_client.models import ErrorResponse as TeiError
from text_embeddings_inference_client.models import ErrorType as TeiErrorType
from voyageai.client import Client as VoyageClient

from tests.contract.harness import KEYS, SCORER_KEY, Served, served
from tests.dialects.conftest import ALL, PROMPT, RESPONSES, Rewards
from tests.dialects.test_pooling import CHATML, sigmoid

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(autouse=True)
def _only_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(
        "huggingface_hub.constants.HF_HUB_OFFLINE", False
    )  # it is asked for this machine only


@pytest.fixture
def url(running: Served) -> str:
    return f"http://127.0.0.1:{running.port}"


def best_first(values: list[float]) -> list[int]:
    return sorted(range(len(values)), key=lambda i: -values[i])


def logits(values: list[float]) -> list[float]:
    return [math.log(value / (1 - value)) for value in values]


async def test_hub_client(url: str, rewards: Rewards) -> None:
    client = InferenceClient(model=f"{url}/tei/predict")
    texts = [CHATML.format(prompt=PROMPT, response=response) for response in RESPONSES]
    raw = partial(client.text_classification, function_to_apply="none")
    default = client.text_classification
    for text, reward in zip(texts, await rewards(), strict=True):
        for ask, value in ((raw, reward), (default, sigmoid([reward])[0])):
            found = await asyncio.to_thread(ask, text)
            assert found[0].score == pytest.approx(value, abs=1e-6)
            assert found[0].label == "LABEL_0"


async def test_hub_client_error(url: str) -> None:
    async with AsyncInferenceClient(model=f"{url}/predict") as client:
        with pytest.raises(HfHubHTTPError) as caught:
            await client.text_classification("no turns")
    assert caught.value.response.status_code == 422
    assert set(caught.value.response.json()) == {"error", "error_type"}
    assert caught.value.response.json()["error_type"] == "Validation"


async def test_tei_predict_shapes(running: Served, rewards: Rewards) -> None:
    expected = await rewards()
    pairs = [[PROMPT, response] for response in RESPONSES]
    reply = await running.rest.post("/predict", json={"inputs": pairs, "raw_scores": True})
    assert [answer[0]["score"] for answer in reply.json()] == pytest.approx(expected, abs=1e-6)
    reply = await running.rest.post("/predict", json={"inputs": pairs[0], "raw_scores": True})
    assert reply.json() == [{"score": pytest.approx(expected[0], abs=1e-6), "label": "LABEL_0"}]
    text = [[CHATML.format(prompt=PROMPT, response=RESPONSES[1])]]
    reply = await running.rest.post("/predict", json={"inputs": text})
    assert reply.json()[0][0]["score"] == pytest.approx(sigmoid(expected)[1], abs=1e-9)


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": ["a", "b", "c"]},
        {"inputs": []},
        {"inputs": 5},
        {},
        {"inputs": [["a", "b"]], "raw_scores": 1},
    ],
)
async def test_tei_refuses(running: Served, body: dict[str, object]) -> None:
    reply = await running.rest.post("/predict", json=body)
    assert (reply.status_code, reply.json()["error_type"]) == (422, "Validation")


async def test_tei_rerank(running: Served, rewards: Rewards) -> None:
    expected = await rewards()
    order = best_first(expected)
    body = {"query": PROMPT, "texts": RESPONSES, "raw_scores": True, "return_text": True}
    reply = (await running.rest.post("/tei/rerank", json=body)).json()
    assert [(r["index"], r["text"]) for r in reply] == [(i, RESPONSES[i]) for i in order]
    assert [r["score"] for r in reply] == pytest.approx([expected[i] for i in order], abs=1e-6)
    reply = (await running.rest.post("/tei/rerank", json={"query": PROMPT, "texts": RESPONSES})).json()
    assert [set(r) for r in reply] == [{"index", "score"}] * 3
    assert logits([r["score"] for r in reply]) == pytest.approx([expected[i] for i in order], abs=1e-6)


async def test_tei_info(running: Served) -> None:
    info = (await running.rest.get("/info")).json()
    assert (info["model_id"], info["model_sha"]) == ("fake", "digest-of-fake")
    assert (info["max_input_length"], info["auto_truncate"]) == (64, True)


async def test_tei_own_client(url: str, running: Served) -> None:
    """Generated from that server's own document; it knows `/info`, `/health` and the shape of errors."""
    async with TeiClient(base_url=f"{url}/tei", httpx_args={"trust_env": False}) as client:
        info = await tei_info.asyncio_detailed(client=client)
        assert json.loads(info.content) == (await running.rest.get("/info")).json()
        assert (await tei_health.asyncio_detailed(client=client)).status_code == 200
    long = {"inputs": [PROMPT, "r" * 300]}
    for body, status in ((long, 413), ({"inputs": [PROMPT, 5]}, 422)):
        reply = await running.rest.post("/tei/predict", json=body)
        assert reply.status_code == status
        assert TeiError.from_dict(reply.json()).error_type == TeiErrorType.VALIDATION


async def test_tei_own_client_predicts_and_reranks(url: str, rewards: Rewards) -> None:
    """Its only version has no call for either, so they go over its connection, its errors read."""
    expected = await rewards()
    async with TeiClient(base_url=f"{url}/tei", httpx_args={"trust_env": False}) as client:
        wire = client.get_async_httpx_client()
        for raw, values in ((True, expected), (False, sigmoid(expected))):
            inputs = {"inputs": [[PROMPT, r] for r in RESPONSES], "raw_scores": raw, "truncate": True}
            told = (await wire.post("/predict", json=inputs)).json()
            assert [answer[0]["score"] for answer in told] == pytest.approx(values, abs=1e-6)
            query = {"query": PROMPT, "texts": list(RESPONSES), "raw_scores": raw, "return_text": True}
            ranks = (await wire.post("/rerank", json=query)).json()
            assert [rank["text"] for rank in ranks] == [RESPONSES[i] for i in best_first(expected)]
            assert {rank["index"]: rank["score"] for rank in ranks} == pytest.approx(
                dict(enumerate(values)), abs=1e-6
            )
        for path in ("/predict", "/rerank"):
            reply = await wire.post(path, json={})
            assert reply.status_code == 422
            assert TeiError.from_dict(reply.json()).error_type == TeiErrorType.VALIDATION


async def test_tei_draining_is_unhealthy() -> None:
    async with served(dialects=("tei",)) as it:
        it.service.begin_drain()
        asked = (
            await it.rest.get("/tei/health"),
            await it.rest.post("/predict", json={"inputs": [["a", "b"]]}),
        )
        for reply in asked:
            assert reply.status_code == 503
            assert TeiError.from_dict(reply.json()).error_type == TeiErrorType.UNHEALTHY


async def test_cohere_client(url: str, rewards: Rewards) -> None:
    expected = await rewards(model="double")
    async with httpx.AsyncClient(trust_env=False) as wire:
        client = cohere.AsyncClientV2("no-key", base_url=f"{url}/cohere", httpx_client=wire)
        reply = await client.rerank(model="double", query=PROMPT, documents=list(RESPONSES), top_n=2)
        assert [result.index for result in reply.results] == best_first(expected)[:2]
        got = logits([result.relevance_score for result in reply.results])
        assert got == pytest.approx(sorted(expected, reverse=True)[:2], abs=1e-6)
        with pytest.raises(cohere.NotFoundError) as absent:
            await client.rerank(model="absent", query=PROMPT, documents=["a"])
        assert set(absent.value.body) == {"message"}
        with pytest.raises(cohere.BadRequestError) as refused:
            await client.rerank(model="fake", query="", documents=["a"])
        assert set(refused.value.body) == {"message"}


async def test_cohere_client_with_a_key(rewards: Rewards) -> None:
    async with served(keys=KEYS, dialects=ALL) as it, httpx.AsyncClient(trust_env=False) as wire:
        url = f"http://127.0.0.1:{it.port}/cohere"
        client = cohere.AsyncClientV2(SCORER_KEY, base_url=url, httpx_client=wire)
        reply = await client.rerank(model="fake", query=PROMPT, documents=list(RESPONSES))
        assert [result.index for result in reply.results] == best_first(await rewards())
        client = cohere.AsyncClientV2("wrong", base_url=url, httpx_client=wire)
        with pytest.raises(cohere.UnauthorizedError) as caught:
            await client.rerank(model="fake", query=PROMPT, documents=["a"])
        assert set(caught.value.body) == {"message"}


async def test_voyage_client(url: str, rewards: Rewards) -> None:
    expected = await rewards()
    client = VoyageClient(api_key="no-key", base_url=f"{url}/voyage/v1")
    documents = list(RESPONSES)
    reply = await asyncio.to_thread(client.rerank, PROMPT, documents, model="fake", top_k=2)
    assert [(r.index, r.document) for r in reply.results] == [
        (i, RESPONSES[i]) for i in best_first(expected)[:2]
    ]
    got = logits([r.relevance_score for r in reply.results])
    assert got == pytest.approx(sorted(expected, reverse=True)[:2], abs=1e-6)
    assert reply.total_tokens > 0
    with pytest.raises(voyageai.error.InvalidRequestError):
        await asyncio.to_thread(client.rerank, "", documents, model="fake")


@pytest.mark.parametrize("with_text", [True, False, None])
async def test_jina(running: Served, rewards: Rewards, with_text: bool | None) -> None:
    body = {"model": "fake", "query": PROMPT, "documents": [{"text": r} for r in RESPONSES]}
    reply = (await running.rest.post("/jina/v1/rerank", json=body | {"return_documents": with_text})).json()
    expected = await rewards()
    order = best_first(expected)
    assert [result["index"] for result in reply["results"]] == order
    got = logits([result["relevance_score"] for result in reply["results"]])
    assert got == pytest.approx([expected[i] for i in order], abs=1e-6)
    texts = [result.get("document") for result in reply["results"]]
    assert texts == [None if with_text is False else {"text": RESPONSES[i]} for i in order]


async def test_jina_error(running: Served) -> None:
    reply = await running.rest.post("/jina/v1/rerank", json={"query": "a"})
    assert (reply.status_code, set(reply.json())) == (422, {"detail"})
