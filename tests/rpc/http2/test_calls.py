"""How calls begin, wait, are refused and end, and what they leave behind."""

import asyncio
import struct
from contextlib import AsyncExitStack
from dataclasses import replace
from unittest.mock import Mock

import pytest
from grpc_health.v1 import health_pb2

from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_service.core.auth import Caller, Keyring
from guerdon_service.core.limits import Limits
from guerdon_service.rpc.gate import tell
from guerdon_service.rpc.http2 import call, calls, calm, connection, server
from guerdon_service.rpc.http2 import frames as f
from guerdon_service.rpc.http2.fields import literal
from guerdon_service.rpc.http2.frames import Code
from tests.contract.harness import KEYS, SCORER_KEY, Gate, Served, Watching, served
from tests.rpc.http2.peer import GOOD, LIMITS, STREAM, Answer, Peer, block, connected, message

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_no_more_streams_than_allowed_and_a_reset_frees_one() -> None:
    gate, observer = Gate(), Watching()
    async with (
        served(load=gate.load, limits=LIMITS, observer=observer) as it,
        connected(it.grpc_port) as peer,
    ):
        try:
            for stream in range(1, 2 * LIMITS.max_streams, 2):
                peer.call(stream)
            await observer.until(lambda: observer.num_admitted == LIMITS.max_streams)
            peer.call(101)
            assert (await peer.answer(101)).reset == Code.REFUSED_STREAM
            peer.send(f.RST_STREAM, 0, 1, f.UINT32.pack(Code.CANCEL))
            await observer.until(lambda: "cancelled" in observer.codes)
            peer.call(103)
            await observer.until(lambda: observer.num_admitted == LIMITS.max_streams + 1)
        finally:
            gate.opened.set()
        assert (await peer.answer(103)).status == 0


async def test_a_caller_is_authenticated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found, authenticate = [], Keyring.authenticate

    def counting(ring: Keyring, authorization: str | None) -> Caller:
        found.append(authenticate(ring, authorization))
        return found[-1]

    monkeypatch.setattr(Keyring, "authenticate", counting)
    async with served(keys=KEYS) as it, connected(it.grpc_port) as peer:
        peer.call(1)
        peer.call(3, authorization=f"Bearer {SCORER_KEY}")
        assert [a.status for a in (await peer.answers(1, 3)).values()] == [16, 0]
    assert [caller.tenant for caller in found] == ["team"]


async def test_a_request_that_never_ends_meets_its_deadline(running: Served) -> None:
    async with connected(running.grpc_port) as peer:
        peer.send(f.HEADERS, f.END_HEADERS, 1, block(grpc_timeout="50m"))
        answer = await peer.answer(1)
        assert (answer.status, answer.code) == (4, "deadline_exceeded")


@pytest.mark.parametrize("path", ["Score", "BestOfN", "EvaluatePolicy", "ScoreStream", "ListModels"])
async def test_a_deadline_that_has_passed_is_told_as_one(running: Served, path: str) -> None:
    """Not as a number that is out of range: the caller's own clock ran out."""
    for grpc_timeout in ("0S", "1n"):
        async with connected(running.grpc_port) as peer:
            peer.call(1, path=f"/guerdon.v1.RewardService/{path}", grpc_timeout=grpc_timeout)
            answer = await peer.answer(1)
        assert (answer.status, answer.code) == (4, "deadline_exceeded")


async def test_a_request_that_is_never_sent_ends_all_the_same(
    running: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one of health, which needs no key: else a few connections could hold all calls for ever."""
    monkeypatch.setattr(calls, "ARRIVAL_S", 0.05)
    async with connected(running.grpc_port) as peer:
        for stream, more in ((1, {}), (3, {"grpc_timeout": "1H"})):
            peer.send(f.HEADERS, f.END_HEADERS, stream, block(path="/grpc.health.v1.Health/Check", **more))
        assert [a.status for a in (await peer.answers(1, 3)).values()] == [4, 4]


async def test_what_needs_no_key_takes_no_large_message(running: Served) -> None:
    async with connected(running.grpc_port) as peer:
        peer.call(1, message(bytes(70_000))[:9], path="/grpc.health.v1.Health/Check")
        peer.call(3, message(bytes(70_000))[:9])
        assert [a.status for a in (await peer.answers(1, 3)).values()] == [8, 12]
        peer.send(f.HEADERS, f.END_HEADERS, 5, block())
        peer.send(f.DATA, 0, 5, message() + b"x")
        assert (await peer.answer(5)).status == 12, "a second message is not waited for, nor kept"


async def test_watchers_without_a_key_leave_room_for_those_who_have_one() -> None:
    async with served(limits=Limits(max_calls=4)) as it, connected(it.grpc_port) as peer:
        for stream in (1, 3, 5):
            peer.call(stream, message(b""), path="/grpc.health.v1.Health/Watch")
        _is_told_when_to_come_back(await peer.answer(5))
        peer.call(7)
        assert (await peer.answer(7)).status == 0
        peer.send(f.RST_STREAM, 0, 1, f.UINT32.pack(Code.CANCEL))
        peer.send(f.PING, 0, 0, bytes(8))
        await peer.until(f.PING)
        peer.call(9, message(b""), path="/grpc.health.v1.Health/Check")
        assert (await peer.answer(9)).status == 0


async def test_a_long_quotation_costs_its_call_alone(running: Served) -> None:
    asked = health_pb2.HealthCheckRequest(service="\N{SNOWMAN}" * 20_000).SerializeToString()
    async with connected(running.grpc_port) as peer:
        peer.call(1, message(asked), path="/grpc.health.v1.Health/Check")
        assert len((await peer.until(f.HEADERS, 1))[1]) < f.DEFAULT_FRAME_BYTES


async def test_who_still_waits_when_the_service_stops_is_told() -> None:
    async with AsyncExitStack() as stack:
        async with served() as it:
            peer = await stack.enter_async_context(connected(it.grpc_port))
            peer.send(f.HEADERS, f.END_HEADERS, 1, block(path=STREAM))
            peer.send(f.HEADERS, f.END_HEADERS, 3, block())  # its message never comes
            peer.send(f.PING, 0, 0, bytes(8))
            await peer.until(f.PING)
        found = await peer.answers(1, 3)
    assert [(answer.status, answer.code) for answer in found.values()] == [(14, "not_ready")] * 2


async def test_who_hangs_up_cancels_his_calls() -> None:
    gate, observer = Gate(), Watching()
    async with served(load=gate.load, observer=observer) as it:
        try:
            async with connected(it.grpc_port) as peer:
                peer.call(1)
                await observer.until(lambda: observer.num_admitted == 1)
            await observer.until(lambda: observer.codes == ["cancelled"])
        finally:
            gate.opened.set()


async def test_one_connection_too_many_is_told_so() -> None:
    async with served(limits=Limits(max_connections=1)) as it:
        async with connected(it.grpc_port) as first:
            first.call(1)
            assert (await first.answer(1)).status == 0
            async with connected(it.grpc_port) as second:
                assert await second.farewell() == Code.ENHANCE_YOUR_CALM
        await it.rest.get("/health/live")


async def test_calls_reset_in_one_breath_leave_nothing_behind(running: Served) -> None:
    """Their tasks are cancelled before they begin, found by `make fuzz`."""
    async with connected(running.grpc_port) as peer:
        for stream in range(1, 20 * LIMITS.max_streams, 2):
            peer.call(stream)
            peer.send(f.RST_STREAM, 0, stream, f.UINT32.pack(Code.CANCEL))
            if stream % (2 * LIMITS.max_streams) == 2 * LIMITS.max_streams - 1:
                peer.send(f.PING, 0, 0, bytes(8))
                await peer.until(f.PING)
        peer.call(1001)
        assert (await peer.answer(1001)).status == 0


async def test_a_caller_who_cancels_all_may_ask_again_at_once(running: Served) -> None:
    """What he has cancelled no longer counts for him; he may say all of it in one packet."""
    async with connected(running.grpc_port) as peer:
        first = range(1, 2 * LIMITS.max_streams, 2)
        for stream in first:
            peer.call(stream)
        for stream in first:
            peer.send(f.RST_STREAM, 0, stream, f.UINT32.pack(Code.CANCEL))
        again = range(first[-1] + 2, first[-1] + 2 + 2 * LIMITS.max_streams, 2)
        for stream in again:
            peer.call(stream)
        assert [a.status for a in (await peer.answers(*again)).values()] == [0] * LIMITS.max_streams


@pytest.mark.parametrize(("refusal_s", "says_all"), [(3600.0, True), (0.01, False)])
async def test_who_is_refused_is_told_once_he_said_all_or_soon(
    running: Served, monkeypatch: pytest.MonkeyPatch, refusal_s: float, says_all: bool
) -> None:
    monkeypatch.setattr(calls, "REFUSAL_S", refusal_s)
    async with connected(running.grpc_port) as peer:
        peer.send(f.HEADERS, f.END_HEADERS, 1, block(path="/no.Such/Method"))
        if says_all:
            peer.send(f.DATA, f.END_STREAM, 1, message())
        assert (await peer.answer(1)).status == 12


async def test_unfinished_messages_are_bounded_on_a_connection_and_in_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calls, "UNFINISHED_MESSAGES", 2)
    monkeypatch.setattr(server, "UNFINISHED_MESSAGES", 2.5)
    part = message(bytes(40_000))[:30_000]

    async with (
        served(limits=Limits(max_body_bytes=40_000)) as it,
        connected(it.grpc_port) as one,
        connected(it.grpc_port) as another,
        connected(it.grpc_port) as third,
    ):

        async def begin(peer: Peer, *streams: int) -> None:
            for stream in streams:
                peer.send(f.HEADERS, f.END_HEADERS, stream, block())
                for at in range(0, len(part), 10_000):
                    peer.send(f.DATA, 0, stream, part[at : at + 10_000])
            peer.send(f.PING, 0, 0, bytes(8))

        await begin(one, 1, 3, 5)
        _is_told_when_to_come_back(await one.answer(5))  # its third
        await begin(another, 1, 3)
        _is_told_when_to_come_back(await another.answer(3))  # the fourth of all
        one.writer.close()
        await one.writer.wait_closed()
        await begin(third, 1, 3)
        await third.until(f.PING)
        another.send(f.DATA, f.END_STREAM, 1, message(bytes(40_000))[30_000:])
        assert (await another.answer(1)).status != 8, "what is whole is no more counted"


async def test_callers_without_a_key_leave_room_for_the_unfinished_messages_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "UNFINISHED_MESSAGES", server.OPEN_UNFINISHED_PART)  # theirs: one message
    part = message(bytes(40_000))[:30_000]

    async with served(limits=Limits(max_body_bytes=40_000)) as it, connected(it.grpc_port) as peer:
        for stream, path in ((1, "Check"), (3, "Check"), (5, "")):
            more = {"path": f"/grpc.health.v1.Health/{path}"} if path else {}
            peer.send(f.HEADERS, f.END_HEADERS, stream, block(**more))
            for at in range(0, len(part), 10_000):
                peer.send(f.DATA, 0, stream, part[at : at + 10_000])
        assert (await peer.answer(3)).status == 8, "the second of those that need no key"
        peer.send(f.DATA, f.END_STREAM, 5, message(bytes(40_000))[30_000:])
        assert (await peer.answer(5)).status != 8


async def test_a_burst_of_long_metadata_costs_some_calls_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calm, "PER_S", 0.0)
    streams = range(1, 500, 2)
    kept = b"\x40" + literal("x-request-id", "kept")[1:]  # which goes to the table
    async with served() as it, connected(it.grpc_port) as peer:
        for stream in streams:
            last = kept if stream == streams[-1] else b""
            peer.send(f.HEADERS, f.END_HEADERS, stream, block(x_long="y" * 32_000) + last)
            peer.send(f.DATA, f.END_STREAM, stream, message())
        found = await peer.answers(*streams)
        assert [found[stream].status for stream in streams[:100]] == [0] * 100
        _is_told_when_to_come_back(found[streams[-1]])
        peer.send(f.HEADERS, f.END_HEADERS, 501, block() + b"\xbe")
        peer.send(f.DATA, f.END_STREAM, 501, message())
        answer = await peer.answer(501)
    assert (answer.status, answer.headers["x-request-id"]) == (0, "kept"), "what was refused was read"


async def test_who_takes_no_answer_holds_no_call(running: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call, "WRITE_S", 0.05)
    async with connected(running.grpc_port, struct.pack(">HI", f.INITIAL_WINDOW, 0)) as peer:
        peer.call(1)
        assert (await peer.answer(1)).reset == Code.CANCEL


async def test_who_takes_no_answer_of_a_stream_holds_no_call_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call, "WRITE_S", 0.05)
    one = pb.ScoreStreamRequest(id="1", request=GOOD).SerializeToString()
    async with (
        served(limits=replace(Limits(), max_calls=1)) as it,
        connected(it.grpc_port, struct.pack(">HI", f.INITIAL_WINDOW, 0)) as deaf,
        connected(it.grpc_port) as other,
    ):
        deaf.send(f.HEADERS, f.END_HEADERS, 1, block(path=STREAM))
        deaf.send(f.DATA, 0, 1, message(one))
        assert (await deaf.answer(1)).reset == Code.CANCEL
        for stream in range(1, 40, 2):  # its tasks end within a few turns of the loop
            other.call(stream)
            if (await other.answer(stream)).status == 0:
                return
        raise AssertionError("the stream still counts as a call at work")


async def test_an_idle_connection_is_closed_and_one_at_work_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "IDLE_S", 0.1)
    gate = Gate()
    async with served(load=gate.load) as it, connected(it.grpc_port) as busy, connected(it.grpc_port) as idle:
        busy.call(1)
        assert await idle.farewell() == Code.NO_ERROR
        gate.opened.set()
        assert (await busy.answer(1)).status == 0
        assert await busy.farewell() == Code.NO_ERROR


@pytest.mark.asyncio(loop_scope="function")  # others' timers must not know its clock
async def test_a_connection_is_idle_from_the_end_of_its_last_call(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, gate, ahead_s = asyncio.get_running_loop(), Gate(), 0.0
    now = loop.time
    monkeypatch.setattr(loop, "time", lambda: now() + ahead_s)
    patient = Limits(default_deadline_s=10 * connection.IDLE_S)
    async with served(load=gate.load, limits=patient) as it, connected(it.grpc_port) as peer:
        peer.call(1)
        await gate.until_entered()
        ahead_s = 0.9 * connection.IDLE_S
        gate.opened.set()
        assert (await peer.answer(1)).status == 0
        ahead_s = 1.5 * connection.IDLE_S
        peer.send(f.PING, 0, 0, bytes(8))
        await peer.until(f.PING)  # which takes turns of the loop, so that timers that are due have run
        peer.call(3)
        assert (await peer.answer(3)).status == 0
        ahead_s = 3 * connection.IDLE_S
        assert await peer.farewell() == Code.NO_ERROR


async def test_who_does_not_read_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "WRITE_S", 0.02)
    gone, transport = asyncio.Event(), Mock(spec=asyncio.Transport)
    transport.is_closing.return_value = False
    transport.abort.side_effect = gone.set
    peer = connection.Connection(Mock(), calls.Bounds(1000, 1000, 4, tell))
    peer.connection_made(transport)
    peer.pause_writing()
    peer.resume_writing()
    peer.pause_writing()
    await asyncio.wait_for(gone.wait(), 30)
    assert transport.abort.call_count == 1, "not for the pause that ended"
    peer.connection_lost(None)


def _is_told_when_to_come_back(answer: Answer) -> None:
    assert (answer.status, answer.code, answer.headers["grpc-retry-pushback-ms"]) == (8, "overloaded", "1000")
