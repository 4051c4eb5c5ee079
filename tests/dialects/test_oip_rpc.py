"""The Open Inference Protocol over gRPC, through Triton's client in a process of its own."""

import asyncio
import json
import sys
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from guerdon_protos.dialects import oip_pb2 as pb
from guerdon_protos.dialects.oip_pb2_grpc import GRPCInferenceServiceStub
from tests.contract.harness import KEYS, SCORER_KEY, Served, served
from tests.dialects.conftest import PROMPT, RESPONSES, SPECS, Rewards
from tests.dialects.test_pooling import CHATML

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def triton(running: Served, key: str = "") -> dict[str, Any]:
    given = {
        "url": f"127.0.0.1:{running.grpc_port}",
        "key": key,
        "prompt": PROMPT,
        "text": CHATML.format(prompt=PROMPT, response=RESPONSES[0]),
        "responses": RESPONSES,
    }
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.dialects.triton_rpc", stdin=pipe, stdout=pipe
    )
    printed, _ = await child.communicate(json.dumps(given).encode())
    assert child.returncode == 0
    told: dict[str, Any] = json.loads(printed)
    return told


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told(running: Served) -> dict[str, Any]:
    return await triton(running)


async def test_infer(told: dict[str, Any], rewards: Rewards) -> None:
    expected = pytest.approx(await rewards(model="double"), abs=1e-6)
    assert told["pairs_False"] == [[3], expected]
    assert told["pairs_True"] == [[3, 1], expected]
    assert told["typed"] == expected
    assert told["text"] == [pytest.approx((await rewards())[:1], abs=1e-6), "r7"]


async def test_server_and_models(told: dict[str, Any]) -> None:
    assert (told["live"], told["ready"]) == (True, True)
    assert told["model_ready"] == [True, True, False]
    assert told["server"]["name"] == "guerdon"
    assert told["model"]["name"] == "double"
    assert [entry["name"] for entry in told["model"]["inputs"]] == ["prompt", "response"]
    assert [(entry["name"], entry["datatype"]) for entry in told["model"]["outputs"]] == [("reward", "FP64")]


async def test_errors(told: dict[str, Any]) -> None:
    statuses = {case: status for case, (status, _) in told["refused"].items()}
    assert statuses.pop("absent") == "StatusCode.NOT_FOUND"
    assert set(statuses.values()) == {"StatusCode.INVALID_ARGUMENT"}
    assert "text[0]" in told["refused"]["no turns"][1]


async def test_health_needs_no_key_and_the_rest_one(rewards: Rewards) -> None:
    async with served(*SPECS, keys=KEYS, dialects=("oip",)) as it:
        told = await triton(it, SCORER_KEY)
        assert told["typed"] == pytest.approx(await rewards(model="double"), abs=1e-6)
        stub: Any = GRPCInferenceServiceStub(it.channel)
        wrong = (("authorization", "Bearer wrong"),)
        assert (await stub.ServerLive(pb.ServerLiveRequest(), metadata=wrong)).live
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ModelMetadata(pb.ModelMetadataRequest(name="fake"))
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_draining_is_not_ready() -> None:
    async with served(dialects=("oip",)) as it:
        stub: Any = GRPCInferenceServiceStub(it.channel)
        assert (await stub.ServerReady(pb.ServerReadyRequest())).ready
        it.service.begin_drain()
        assert not (await stub.ServerReady(pb.ServerReadyRequest())).ready


def request(**entry: Any) -> pb.ModelInferRequest:
    made = pb.ModelInferRequest(model_name="fake")
    made.inputs.add(**({"name": "text", "datatype": "BYTES", "shape": [1]} | entry))
    return made


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (pb.ModelInferRequest(model_name="fake"), "inputs"),
        (request(datatype="FP32"), "inputs[0].datatype"),
        (request(shape=[2], contents={"bytes_contents": [b"a"]}), "inputs[0].shape"),
        (request(shape=[1, 1, 1], contents={"bytes_contents": [b"a"]}), "inputs[0].shape"),
        (request(contents={"bytes_contents": [b"\xff"]}), "inputs[0]"),
    ],
)
async def test_malformed(running: Served, message: pb.ModelInferRequest, told: str) -> None:
    await refused(running, message, told)


@pytest.mark.parametrize(
    "raw",
    [[b"\x05\x00\x00\x00abc"], [b"\x00\x00"], [b"\x02\x00\x00\x00\xff\xff"], [b"", b""]],
)
async def test_malformed_raw(running: Served, raw: list[bytes]) -> None:
    message = request()
    message.raw_input_contents.extend(raw)
    await refused(running, message, "raw_input_contents" if len(raw) == 2 else "inputs[0]")


async def refused(running: Served, message: pb.ModelInferRequest, told: str) -> None:
    stub: Any = GRPCInferenceServiceStub(running.channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ModelInfer(message)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert told in (caught.value.details() or "")
