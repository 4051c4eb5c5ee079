"""The Open Inference Protocol over REST, through Triton's client.

It runs in a thread, as the service answers on the test's loop; a client stays in the thread that made it.
"""

import asyncio
import json
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pytest
from tritonclient.http import (  # type: ignore[import-untyped]
    InferenceServerClient,
    InferInput,
    InferRequestedOutput,
)
from tritonclient.utils import InferenceServerException  # type: ignore[import-untyped]

from tests.contract.harness import KEYS, Served, served
from tests.dialects.conftest import ALL, PROMPT, RESPONSES, Rewards
from tests.dialects.test_pooling import CHATML

pytestmark = pytest.mark.asyncio(loop_scope="module")

T = TypeVar("T")


async def with_client(running: Served, ask: Callable[[InferenceServerClient], T], prefix: str = "") -> T:
    def run() -> T:
        with InferenceServerClient(f"127.0.0.1:{running.port}{prefix}") as client:
            return ask(client)

    return await asyncio.to_thread(run)


def tensor(name: str, texts: list[str], *, binary: bool, columns: bool = False) -> InferInput:
    values = np.array([text.encode() for text in texts], dtype=np.object_)
    values = values[:, None] if columns else values
    made = InferInput(name, list(values.shape), "BYTES")
    made.set_data_from_numpy(values, binary_data=binary)
    return made


@pytest.mark.parametrize("prefix", ["", "/oip"])
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("columns", [True, False])
async def test_infer(running: Served, rewards: Rewards, prefix: str, binary: bool, columns: bool) -> None:
    inputs = [
        tensor("prompt", [PROMPT] * 3, binary=binary, columns=columns),
        tensor("response", list(RESPONSES), binary=binary, columns=columns),
    ]
    found = await with_client(running, lambda client: client.infer("double", inputs), prefix)
    values = found.as_numpy("reward")
    assert values.shape == ((3, 1) if columns else (3,))
    assert values.ravel().tolist() == pytest.approx(await rewards(model="double"), abs=1e-6)


@pytest.mark.parametrize("binary", [True, False])
async def test_rendered_text_and_named_output(running: Served, rewards: Rewards, binary: bool) -> None:
    texts = [CHATML.format(prompt=PROMPT, response=r) for r in RESPONSES]
    inputs = [tensor("text", texts, binary=binary)]
    outputs = [InferRequestedOutput("reward", binary_data=binary)]
    found = await with_client(
        running,
        lambda client: client.infer("fake", inputs, model_version="1", outputs=outputs, request_id="r7"),
    )
    assert found.as_numpy("reward").tolist() == pytest.approx(await rewards(), abs=1e-6)
    assert found.get_response()["id"] == "r7"
    assert found.get_response()["model_version"] == "1"


async def test_server_and_models(running: Served) -> None:
    def ask(client: InferenceServerClient) -> None:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("fake")
        assert client.is_model_ready("fake", "1")
        assert not client.is_model_ready("absent")
        assert client.get_server_metadata()["name"] == "guerdon"
        told = client.get_model_metadata("fake")
        assert [entry["name"] for entry in told["inputs"]] == ["prompt", "response"]
        assert [entry["name"] for entry in told["outputs"]] == ["reward"]

    await with_client(running, ask)


async def test_health_needs_no_key() -> None:
    async with served(keys=KEYS, dialects=ALL) as it:
        assert await with_client(it, lambda client: client.is_server_ready())
        reply = await it.rest.get("/v2/models/fake")
        assert (reply.status_code, set(reply.json())) == (401, {"error"})


async def test_draining_is_not_ready() -> None:
    async with served(dialects=ALL) as it:
        it.service.begin_drain()
        assert (await it.rest.get("/v2/health/ready")).status_code == 503
        assert (await it.rest.get("/v2/health/live")).status_code == 200


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([tensor("prompt", [PROMPT], binary=True)], "prompt and response"),
        ([tensor("prompt", [PROMPT], binary=True), tensor("response", ["a", "b"], binary=True)], "shape"),
        ([tensor("text", ["no turns"], binary=True)], "text[0]"),
    ],
)
async def test_errors(running: Served, inputs: list[InferInput], message: str) -> None:
    with pytest.raises(InferenceServerException) as caught:
        await with_client(running, lambda client: client.infer("fake", inputs))
    assert caught.value.status() == "400"
    assert message in caught.value.message()


BYTES = {"name": "text", "datatype": "BYTES", "shape": [1]}


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": [BYTES | {"data": ["a", "b"]}]},
        {"inputs": [BYTES | {"parameters": {"binary_data_size": 9}}]},
        {"inputs": [BYTES | {"parameters": {"binary_data_size": -1}}]},
        {"inputs": [BYTES | {"datatype": "INT32", "data": [1]}]},
        {"inputs": [5]},
        {"inputs": []},
        {"inputs": [BYTES | {"data": ["a"]}], "outputs": [{"name": "score"}]},
    ],
)
async def test_malformed(running: Served, body: dict[str, object]) -> None:
    reply = await running.rest.post("/v2/models/fake/infer", json=body)
    assert (reply.status_code, set(reply.json())) == (400, {"error"})


@pytest.mark.parametrize(("header", "content"), [("99", b"{}"), ("x", b"{}"), ("0", b"{}"), ("2", b"{}\xff")])
async def test_malformed_binary(running: Served, header: str, content: bytes) -> None:
    reply = await running.rest.post(
        "/v2/models/fake/infer", content=content, headers={"inference-header-content-length": header}
    )
    assert (reply.status_code, set(reply.json())) == (400, {"error"})


@pytest.mark.parametrize("tail", [b"\x05\x00\x00\x00abc", b"\x02\x00\x00\x00\xff\xff", b"\x09\x00"])
async def test_malformed_strings(running: Served, tail: bytes) -> None:
    head = json.dumps({"inputs": [BYTES | {"parameters": {"binary_data_size": len(tail)}}]}).encode()
    reply = await running.rest.post(
        "/v2/models/fake/infer",
        content=head + tail,
        headers={"inference-header-content-length": str(len(head))},
    )
    assert (reply.status_code, set(reply.json())) == (400, {"error"})
    assert "inputs[0]" in reply.json()["error"]
