"""vLLM's and SGLang's reward routes, as verl and scorers call them."""

import base64
import math
import struct
from typing import Any

import pytest

from tests.contract.harness import Served
from tests.dialects.conftest import PROMPT, RESPONSES, Rewards

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHATML = "<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n{response}<|im_end|>\n"
LLAMA = (
    "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n{prompt}<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n{response}<|eot_id|>"
)
GEMMA = "<bos><start_of_turn>user\n{prompt}<end_of_turn>\n<start_of_turn>model\n{response}<end_of_turn>\n"
DIALOGUE = "\n\nHuman: {prompt}\n\nAssistant: {response}"
MARKUPS = [CHATML, LLAMA, GEMMA, DIALOGUE]
OFF: dict[str, object] = {"activation": False}


def sigmoid(values: list[float]) -> list[float]:
    return [1 / (1 + math.exp(-value)) for value in values]


async def post(running: Served, path: str, body: dict[str, object]) -> Any:
    reply = await running.rest.post(path, json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


@pytest.mark.parametrize("markup", MARKUPS)
async def test_verl_on_vllm(running: Served, rewards: Rewards, markup: str) -> None:
    """One request a sample, the last of ``probs`` of the last of ``data`` is the reward."""
    got = []
    for response in RESPONSES:
        text = markup.format(prompt=PROMPT, response=response)
        reply = await post(running, "/classify", {"model": "fake", "input": text, "activation": False})
        got.append(reply["data"][-1]["probs"][-1])
    assert got == pytest.approx(await rewards(), abs=1e-6)


@pytest.mark.parametrize("markup", MARKUPS)
async def test_verl_on_sglang(running: Served, rewards: Rewards, markup: str) -> None:
    got = []
    for response in RESPONSES:
        text = markup.format(prompt=PROMPT, response=response)
        body: dict[str, object] = {"model": "fake", "input": text, "activation": False}
        got.append((await post(running, "/v1/embeddings", body))["data"][-1]["embedding"][-1])
    assert got == pytest.approx(await rewards(), abs=1e-6)


@pytest.mark.parametrize("switch", ["activation", "use_activation", "softmax"])
async def test_activation_is_on_unless_switched_off(running: Served, rewards: Rewards, switch: str) -> None:
    text = CHATML.format(prompt=PROMPT, response=RESPONSES[0])
    expected = (await rewards())[:1]
    for body, values in (
        ({}, sigmoid(expected)),
        ({switch: True}, sigmoid(expected)),
        ({switch: False}, expected),
    ):
        reply = await post(running, "/classify", {"input": text, **body})
        assert reply["data"][0]["probs"] == pytest.approx(values, abs=1e-9)


async def test_classify_shape(running: Served) -> None:
    messages = [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": "Paris."}]
    reply = await post(running, "/classify", {"messages": messages})
    assert set(reply) == {"id", "object", "created", "model", "data", "usage"}
    assert set(reply["data"][0]) == {"index", "label", "probs", "num_classes"}
    assert reply["usage"]["prompt_tokens"] == reply["usage"]["total_tokens"] > 0


@pytest.mark.parametrize("encoding", ["float", "base64"])
async def test_pooling(running: Served, rewards: Rewards, encoding: str) -> None:
    texts = [CHATML.format(prompt=PROMPT, response=response) for response in RESPONSES]
    reply = await post(running, "/pooling", {"input": texts, "encoding_format": encoding, **OFF})
    values = [entry["data"] for entry in reply["data"]]
    if encoding == "base64":
        values = [struct.unpack("<f", base64.b64decode(value)) for value in values]
    assert [value[0] for value in values] == pytest.approx(await rewards(), abs=1e-6)


@pytest.mark.parametrize(
    ("first", "second"),
    [("queries", "documents"), ("text_1", "text_2"), ("data_1", "data_2"), ("queries", "items")],
)
@pytest.mark.parametrize("path", ["/score", "/vllm/score", "/vllm/v1/score"])
async def test_score(running: Served, rewards: Rewards, first: str, second: str, path: str) -> None:
    expected = pytest.approx(await rewards(), abs=1e-6)
    for prompts in (PROMPT, [PROMPT] * 3):
        reply = await post(running, path, {first: prompts, second: RESPONSES, **OFF})
        assert [entry["score"] for entry in reply["data"]] == expected
        assert {entry["object"] for entry in reply["data"]} == {"score"}


async def test_our_own_score_is_ours(running: Served) -> None:
    reply = await running.rest.post("/v1/score", json={"queries": PROMPT, "documents": ["Paris."]})
    assert reply.json()["error"]["code"] == "invalid_input"


@pytest.mark.parametrize("path", ["/rerank", "/v1/rerank", "/v2/rerank"])
async def test_rerank(running: Served, rewards: Rewards, path: str) -> None:
    body: dict[str, object] = {"model": "org/double", "query": PROMPT, "documents": RESPONSES, "top_n": 2}
    expected = await rewards(model="double")
    best = sorted(range(3), key=lambda i: -expected[i])[:2]
    for extra, values in ((OFF, expected), ({}, sigmoid(expected))):
        reply = await post(running, path, body | extra)
        assert [result["index"] for result in reply["results"]] == best
        got = [result["relevance_score"] for result in reply["results"]]
        assert got == pytest.approx([values[i] for i in best], abs=1e-6)
        assert [result["document"]["text"] for result in reply["results"]] == [RESPONSES[i] for i in best]
        assert reply["model"] == "double"


async def test_tokenize(running: Served) -> None:
    """The ids are those that the score is of: the fake encoder's are code points."""
    messages = [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": "Paris."}]
    text = CHATML.format(prompt=PROMPT, response="Paris.")
    bodies: list[dict[str, object]] = [{"messages": messages}, {"prompt": text, "model": "org/double"}]
    for body in bodies:
        reply = await post(running, "/tokenize", body)
        assert reply["tokens"] == [ord(c) for c in PROMPT + "Paris."]
        assert (reply["count"], reply["max_model_len"]) == (len(reply["tokens"]), 64)


async def test_sglang_score(running: Served, rewards: Rewards) -> None:
    body: dict[str, object] = {"query": PROMPT, "items": RESPONSES, "model": "fake"}
    reply = await post(running, "/sglang/v1/score", body)
    assert reply["scores"] == [[pytest.approx(r, abs=1e-6)] for r in await rewards()]
    assert reply["object"] == "scoring"


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/classify", {"input": [1, 2, 3]}, "input"),
        ("/classify", {"input": "no turns"}, "input[0]"),
        ("/classify", {"input": CHATML, "activation": "no"}, "activation"),
        ("/classify", {"messages": [{"role": "user", "content": "Hi"}]}, "messages"),
        ("/classify", {"messages": []}, "messages"),
        ("/pooling", {"input": CHATML, "task": "embed"}, "task"),
        ("/pooling", {"input": CHATML, "encoding_format": "hex"}, "encoding_format"),
        ("/score", {"queries": ["a", "b"], "documents": ["c"]}, "queries"),
        ("/score", {"queries": "a"}, "queries"),
        ("/tokenize", {"prompt": [CHATML]}, "prompt"),
        ("/tokenize", {"prompt": "no turns"}, "prompt[0]"),
        ("/tokenize", {"prompt": CHATML, "return_token_strs": True}, "return_token_strs"),
        ("/rerank", {"query": "a", "documents": ["b"], "top_n": -1}, "top_n"),
        ("/rerank", {"query": "a", "documents": ["b"], "chat_template": "x"}, "chat_template"),
    ],
)
async def test_vllm_errors(running: Served, path: str, body: dict[str, object], param: str) -> None:
    reply = await running.rest.post(path, json=body)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["type"]) == (400, 400, "BadRequestError")
    assert error["param"] == param


async def test_unknown_model(running: Served) -> None:
    body = {"model": "absent", "query": PROMPT, "documents": ["Paris."]}
    reply = await running.rest.post("/rerank", json=body)
    assert (reply.status_code, reply.json()["error"]["type"]) == (404, "NotFoundError")


@pytest.mark.parametrize("name", ["label_token_ids", "apply_softmax", "item_first"])
async def test_sglang_errors(running: Served, name: str) -> None:
    reply = await running.rest.post("/sglang/v1/score", json={"query": "a", "items": ["b"], name: [1]})
    assert reply.status_code == 400
    assert set(reply.json()) == {"object", "message", "type", "param", "code"}
    assert (reply.json()["object"], reply.json()["param"]) == ("error", name)
