"""A dialect's request is counted before it is read, and what its texts share is read once.

What would be read first cannot be: a refusal that names the number came before any reading.
"""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from guerdon_protos.dialects import oip_pb2, tei_pb2
from guerdon_protos.dialects.oip_pb2_grpc import GRPCInferenceServiceStub
from guerdon_protos.dialects.tei_pb2_grpc import RerankStub
from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InputTooLong, TooManyItems
from guerdon_service.core.limits import Limits
from guerdon_service.dialects import ranked
from guerdon_service.dialects.markup import Prompt, read_prompt
from guerdon_service.dialects.ranked import responses_to
from tests.contract.harness import Served, served
from tests.dialects.conftest import ALL

pytestmark = pytest.mark.asyncio(loop_scope="module")

BEGUN = "\n\nAssistant: Hm,"
"""As a query: no response to it can be told apart from it."""
NINE = ["x"] * 9
"""As texts of their own: none has turns."""
TENSOR: dict[str, Any] = {"name": "text", "datatype": "BYTES", "shape": [9]}
CUT_SHORT = b"\x01\x00\x00\x00x" * 9 + b"\x09"

TOO_MANY: dict[str, tuple[dict[str, Any], int]] = {
    "/vllm/score": ({"queries": BEGUN, "documents": NINE}, 400),
    "/vllm/v1/rerank": ({"query": BEGUN, "documents": NINE}, 400),
    "/vllm/classify": ({"input": NINE}, 400),
    "/vllm/pooling": ({"input": NINE}, 400),
    "/sglang/v1/score": ({"query": BEGUN, "items": NINE}, 400),
    "/sglang/v1/embeddings": ({"input": NINE}, 400),
    "/tei/rerank": ({"query": BEGUN, "texts": NINE}, 413),
    "/tei/predict": ({"inputs": [["a", "b", "c"]] * 9}, 413),
    "/cohere/v2/rerank": ({"query": BEGUN, "documents": NINE}, 400),
    "/jina/v1/rerank": ({"query": BEGUN, "documents": NINE}, 422),
    "/voyage/v1/rerank": ({"query": BEGUN, "documents": NINE}, 400),
    "/openrlhf/get_reward": ({"query": NINE}, 422),
    "/oip/v2/models/fake/infer": ({"inputs": [TENSOR | {"data": NINE}]}, 400),
}
RANKERS = {path: body for path, (body, _) in TOO_MANY.items() if BEGUN in body.values()}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bounded() -> AsyncIterator[Served]:
    async with served(limits=Limits(max_items=8, max_item_chars=100), dialects=ALL) as it:
        yield it


@pytest.mark.parametrize("path", TOO_MANY)
async def test_too_many_texts_are_refused_unread(bounded: Served, path: str) -> None:
    body, status = TOO_MANY[path]
    reply = await bounded.rest.post(path, json=body)
    assert (reply.status_code, "9 entries, the limit max_items is 8" in reply.text) == (status, True), (
        reply.text
    )


@pytest.mark.parametrize("path", RANKERS)
async def test_a_query_that_is_too_long_is_refused_unread(bounded: Served, path: str) -> None:
    body = {key: value if key in ("query", "queries") else ["x"] for key, value in RANKERS[path].items()}
    long = {key: BEGUN + "m" * 100 if value == BEGUN else value for key, value in body.items()}
    reply = await bounded.rest.post(path, json=long)
    assert reply.status_code == TOO_MANY[path][1]
    assert "max_item_chars" in reply.text and ("query" in reply.text or "queries" in reply.text)


async def test_texts_of_objects_are_counted_first(bounded: Served) -> None:
    reply = await bounded.rest.post(
        "/cohere/v2/rerank", json={"query": "q", "documents": [{"title": "t"}] * 9}
    )
    assert "max_items" in reply.json()["message"]


async def test_binary_strings_are_counted_as_they_are_split(bounded: Served) -> None:
    head = b'{"inputs": [{"name": "text", "datatype": "BYTES", "parameters": {"binary_data_size": 46}}]}'
    headers = {"inference-header-content-length": str(len(head))}
    reply = await bounded.rest.post("/oip/v2/models/fake/infer", content=head + CUT_SHORT, headers=headers)
    assert (reply.status_code, "max_items" in reply.json()["error"]) == (400, True)


async def test_more_tensors_than_the_model_has_are_refused_unread(bounded: Served) -> None:
    inputs = [{"name": name, "datatype": "FP32"} for name in ("prompt", "response", "prompt")]
    reply = await bounded.rest.post("/oip/v2/models/fake/infer", json={"inputs": inputs})
    assert (reply.status_code, "those of the model" in reply.json()["error"]) == (400, True)
    message = oip_pb2.ModelInferRequest(model_name="fake")
    for entry in inputs:
        message.inputs.add(**entry)
    assert "those of the model" in await told(
        GRPCInferenceServiceStub(bounded.channel), "ModelInfer", message
    )


async def test_too_many_texts_are_refused_unread_over_grpc(bounded: Served) -> None:
    raw, typed = (oip_pb2.ModelInferRequest(model_name="fake") for _ in range(2))
    raw.inputs.add(**TENSOR)
    raw.raw_input_contents.append(CUT_SHORT)
    typed.inputs.add(**TENSOR, contents={"bytes_contents": [b"\xff"] * 9})
    for message in (raw, typed):
        infer = await told(GRPCInferenceServiceStub(bounded.channel), "ModelInfer", message)
        assert "max_items" in infer
    rerank = RerankStub(bounded.channel)
    assert "max_items" in await told(rerank, "Rerank", tei_pb2.RerankRequest(query=BEGUN, texts=NINE))
    long = tei_pb2.RerankRequest(query=BEGUN + "m" * 100, texts=["x"])
    assert "max_item_chars" in await told(rerank, "Rerank", long)


async def told(stub: Any, method: str, message: Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await getattr(stub, method)(message)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    return caught.value.details() or ""


@pytest.mark.parametrize("query", ["Plain?", "\n\nHuman: Hi", "\n\nHuman: Hi\n\nAssistant: Well,"])
async def test_a_query_is_read_once_for_all_texts(monkeypatch: pytest.MonkeyPatch, query: str) -> None:
    read = []

    def counted(text: str) -> Prompt:
        read.append(text)
        return read_prompt(text)

    monkeypatch.setattr(ranked, "read_prompt", counted)
    first, *others = responses_to(query, ["a", "b", "c"], Limits(), ("query", "texts"))
    assert read == [query]
    assert len(others) == 2 and all(other.prompt is first.prompt for other in others)


async def test_the_turns_that_texts_share_are_counted_for_each() -> None:
    with pytest.raises(TooManyItems, match="texts make conversations of 600000 turns") as refused:
        responses_to("\n\nHuman: a" * 60, ["x"] * 10_000, Limits(), ("query", "texts"))
    assert refused.value.param == "texts"


async def test_a_response_that_the_query_begins_is_not_repeated_without_end() -> None:
    limits, query = Limits(max_body_bytes=100), "\n\nHuman: Hi\n\nAssistant:" + "m" * 60
    (found,) = responses_to(query, ["!"], limits, ("query", "texts"))
    assert (found.prompt, found.response) == ((Message("user", "Hi"),), "m" * 60 + "!")
    with pytest.raises(InputTooLong, match="2 texts are over max_body_bytes of 100") as refused:
        responses_to(query, ["!", "?"], limits, ("query", "texts"))
    assert refused.value.param == "query"
