"""Every kind of bad message gets the right status, code and param, and a good call beside it its answer."""

import asyncio

import grpc
import grpc.aio
import pytest

from guerdon_protos.v1 import guerdon_pb2 as pb
from tests.contract.harness import Served, refusal
from tests.rpc.raw import field, method, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

GOOD = pb.ScoreRequest(items=[pb.ScoreItem(prompt="p", response="r")])
ITEM = field(1, b"p") + field(3, b"r")

BAD: dict[str, tuple[bytes, str, str]] = {
    # bytes of a ScoreRequest, param, what the message says
    "not protobuf": (b"\xff\xff\xff", "message", "guerdon.v1.ScoreRequest"),
    "cut short": (GOOD.SerializeToString()[:-1], "message", "guerdon.v1.ScoreRequest"),
    "JSON": (b'{"items": []}', "message", "guerdon.v1.ScoreRequest"),
    "not UTF-8": (field(3, field(1, b"\xff") + field(3, b"r")), "message", "UTF-8"),
    "lone surrogate": (field(3, field(1, b"\xed\xa0\x80") + field(3, b"r")), "message", "UTF-8"),
    "unknown field": (field(3, ITEM) + field(15, b"x"), "message", "field 15"),
    "unknown item field": (field(3, ITEM + field(9, b"x")), "message", "nested message"),
    "empty": (b"", "items", "empty"),
    "no response": (field(3, field(1, b"p")), "items[0].response", "empty"),
    "no prompt": (field(3, ITEM) + field(3, field(3, b"r")), "items[1].prompt", "missing"),
    "empty item": (field(3, b""), "items[0].prompt", "missing"),
    "negative deadline": (
        pb.ScoreRequest(items=GOOD.items, deadline_ms=-1).SerializeToString(),
        "deadline_ms",
        "at least 1",
    ),
    "100 000 characters of lane": (
        pb.ScoreRequest(items=GOOD.items, lane="x" * 90_000).SerializeToString(),
        "lane",
        "interactive, bulk",
    ),
}


@pytest.mark.parametrize("case", BAD)
async def test_bad_message(running: Served, case: str) -> None:
    data, param, says = BAD[case]
    (status, told), good = await asyncio.gather(
        refused(running.channel, "Score", data), running.stub.Score(GOOD)
    )
    assert (status, told.code, told.param) == (grpc.StatusCode.INVALID_ARGUMENT, "invalid_input", param)
    assert says in told.message
    assert len(good.scores) == 1


async def test_ten_megabytes(running: Served) -> None:
    status, told = await refused(running.channel, "Score", b"x" * 10_000_000)
    assert status == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (told.code, told.param, told.retry_after_ms) == ("payload_too_large", "message", None)
    assert "larger than max" in told.message
    assert len((await running.stub.Score(GOOD)).scores) == 1


async def test_too_many_items(running: Served) -> None:
    request = pb.ScoreRequest(items=[pb.ScoreItem(prompt="p", response="r")] * 1001)
    status, told = await refused(running.channel, "Score", request.SerializeToString())
    assert (status, told.code, told.param) == (grpc.StatusCode.INVALID_ARGUMENT, "too_many_items", "items")


async def test_too_many_prompts_are_refused_before_any_is_looked_at(running: Served) -> None:
    prompts = [pb.PolicyPrompt()] * 1001
    with pytest.raises(grpc.aio.AioRpcError) as err:
        await running.stub.EvaluatePolicy(pb.EvaluatePolicyRequest(policies=["echo"], prompts=prompts)).read()
    assert (refusal(err.value).code, refusal(err.value).param) == ("too_many_items", "prompts")


async def test_unknown_method(running: Served) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as err:
        await method(running.channel, "Guess")(b"")
    assert err.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("text", ["a\x00b", "שלום", "مرحبا 🏳️‍🌈", "\u202e\u2066", "\U0010ffff", "  \n\t "])
async def test_awkward_text_is_good_text(running: Served, text: str) -> None:
    reply = await running.stub.Score(pb.ScoreRequest(items=[pb.ScoreItem(prompt=text, response=text)]))
    assert reply.scores[0].tokens == 2 * len(text)
