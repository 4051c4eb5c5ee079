"""ScoreStream: many at once, each answered under its id; bad ones do not end it; cancelling ends its work."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest

from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_service.rpc import stream
from guerdon_service.rpc.stream import MAX_IN_FLIGHT
from tests.contract.harness import Gate, Served, Watching, served
from tests.rpc.raw import method

pytestmark = pytest.mark.asyncio(loop_scope="module")


def ask(id: str, prompt: str = "p") -> pb.ScoreStreamRequest:
    return pb.ScoreStreamRequest(
        id=id, request=pb.ScoreRequest(items=[pb.ScoreItem(prompt=prompt, response="r")])
    )


async def test_half_closed_stream_gets_every_answer_under_its_id(running: Served) -> None:
    asked = [ask(str(i), f"prompt {i}") for i in range(3 * MAX_IN_FLIGHT)]
    answers = {a.id: a async for a in running.stub.ScoreStream(iter(asked))}
    assert set(answers) == {a.id for a in asked}
    for one in asked[:5]:
        alone = await running.stub.Score(one.request)
        assert answers[one.id].response.scores[0].reward == alone.scores[0].reward


async def test_a_bad_request_is_answered_and_the_stream_goes_on(running: Served) -> None:
    call = running.stub.ScoreStream()
    bad = pb.ScoreStreamRequest(
        id="bad", request=pb.ScoreRequest(model="nobody", items=ask("").request.items)
    )
    for one in (bad, pb.ScoreStreamRequest(id="empty"), ask("good")):
        await call.write(one)
    answers = {a.id: a for a in [await call.read() for _ in range(3)]}
    assert (answers["bad"].error.code, answers["bad"].error.param) == ("unknown_model", "model")
    assert (answers["empty"].error.code, answers["empty"].error.param) == ("invalid_input", "items")
    assert len(answers["good"].response.scores) == 1
    await call.write(ask("later"))
    assert (await call.read()).id == "later"
    await call.done_writing()
    assert not await call.read(), "the end of the stream, which is falsy"
    assert await call.code() == grpc.StatusCode.OK


async def test_a_message_that_cannot_be_parsed_is_answered_too(running: Served) -> None:
    call = method(running.channel, "ScoreStream", stream=True)(
        iter([b"\xff\xff", ask("good").SerializeToString()])
    )
    answers = {a.id: a for a in [pb.ScoreStreamResponse.FromString(d) async for d in call]}
    assert (answers[""].error.code, answers[""].error.param) == ("invalid_input", "message")
    assert len(answers["good"].response.scores) == 1


async def test_requests_of_one_stream_are_at_work_together() -> None:
    gate, observer = Gate(), Watching()
    async with served(load=gate.load, observer=observer) as it:
        call = it.stub.ScoreStream(iter([ask(str(i), f"prompt {i}") for i in range(MAX_IN_FLIGHT)]))
        try:
            await observer.until(lambda: observer.num_admitted == MAX_IN_FLIGHT)
        finally:
            gate.opened.set()
        assert len({a.id async for a in call}) == MAX_IN_FLIGHT


async def test_no_more_is_read_than_may_be_at_work() -> None:
    gate, observer = Gate(), Watching()
    sent = 0

    async def requests() -> AsyncIterator[pb.ScoreStreamRequest]:
        nonlocal sent
        for i in range(4 * MAX_IN_FLIGHT):
            sent += 1
            yield ask(str(i), f"prompt {i}")

    async with served(load=gate.load, observer=observer) as it:
        call = it.stub.ScoreStream(requests())
        try:
            await observer.until(lambda: observer.num_admitted == MAX_IN_FLIGHT)
            assert len((await it.stub.ListModels(pb.ListModelsRequest())).models) == 1  # time for one more
            assert observer.num_admitted == MAX_IN_FLIGHT
        finally:
            gate.opened.set()
        assert len({a.id async for a in call}) == 4 * MAX_IN_FLIGHT == sent


@pytest.mark.parametrize(("num_places", "num_at_once"), [(20, 3), (1000, 1)])
async def test_large_requests_take_the_place_of_several(
    monkeypatch: pytest.MonkeyPatch, num_places: int, num_at_once: int
) -> None:
    asked = [ask(str(i), str(i) * 5000) for i in range(9)]
    monkeypatch.setattr(stream, "PLACE_BYTES", asked[0].ByteSize() // (num_places - 1))
    gate, observer = Gate(), Watching()
    async with served(load=gate.load, observer=observer) as it:
        call = it.stub.ScoreStream(iter(asked))
        try:
            await observer.until(lambda: observer.num_admitted == num_at_once)
            assert len((await it.stub.ListModels(pb.ListModelsRequest())).models) == 1  # time for one more
            assert observer.num_admitted == num_at_once
        finally:
            gate.opened.set()
        assert len({a.id async for a in call}) == 9


async def test_cancelling_the_stream_cancels_its_work() -> None:
    gate, observer = Gate(), Watching()
    async with served(load=gate.load, observer=observer) as it:
        try:
            first = asyncio.create_task(_score(it))
            await gate.until_entered()
            call = it.stub.ScoreStream()
            for i in range(5):
                await call.write(ask(str(i), f"prompt {i}"))
            await observer.until(lambda: observer.num_admitted == 6)
            call.cancel()
            await observer.until(lambda: observer.codes.count("cancelled") == 5)
        finally:
            gate.opened.set()
        await first
        assert gate.backends[0].num_forwards == 1


async def _score(it: Served) -> pb.ScoreResponse:
    reply: pb.ScoreResponse = await it.stub.Score(ask("", "stays").request)
    return reply
