"""Who sends, or reads, a byte now and then holds a call no longer than who does nothing."""

import asyncio
import gzip
import struct
from unittest.mock import Mock

import pytest

from guerdon_protos.dialects import tei_pb2
from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_service.core.errors import Overloaded
from guerdon_service.core.limits import Limits
from guerdon_service.rpc import stream as score_stream
from guerdon_service.rpc.gate import tell
from guerdon_service.rpc.http2 import call, calls, connection
from guerdon_service.rpc.http2 import frames as f
from guerdon_service.rpc.http2.frames import Code
from tests.contract.harness import Gate, served
from tests.rpc.http2.peer import GOOD, SCORE, STREAM, Peer, block, connected, message

pytestmark = pytest.mark.asyncio(loop_scope="function")  # others' timers must not know its clock

PATIENT = Limits(default_deadline_s=100 * calls.ARRIVAL_S)
ONE = message(pb.ScoreStreamRequest(id="1", request=GOOD).SerializeToString())
PREDICT, RERANK = "/tei.v1.Predict/PredictPairStream", "/tei.v1.Rerank/RerankStream"
PREDICTED = message(tei_pb2.PredictPairRequest(inputs=["p", "r"]).SerializeToString())
RERANKED = message(tei_pb2.RerankStreamRequest(query="query", text="text").SerializeToString())


class Clock:
    """The loop's, which a test moves on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop, self.ahead_s = asyncio.get_running_loop(), 0.0
        now = loop.time
        monkeypatch.setattr(loop, "time", lambda: now() + self.ahead_s)

    async def pass_s(self, peer: Peer, seconds: float) -> None:
        """Once all that `peer` said is read; timers that are due have run when this returns."""
        for _ in range(2):
            peer.send(f.PING, 0, 0, bytes(8))
            await peer.until(f.PING)
            self.ahead_s, seconds = self.ahead_s + seconds, 0.0

    async def turn_s(self, seconds: float) -> None:
        """Timers that are due have run when this returns."""
        self.ahead_s += seconds
        for _ in range(3):
            await asyncio.sleep(0)


def alone() -> tuple[connection.Connection, Mock]:
    """A connection whose peer has sent its settings, and its transport; every call is refused."""
    host, transport = Mock(), Mock(spec=asyncio.Transport)
    host.accept.side_effect = Overloaded("none is taken")
    transport.is_closing.return_value = False
    one = connection.Connection(host, calls.Bounds(1000, 1000, 4, tell))
    one.connection_made(transport)
    one.data_received(f.PREFACE + f.settings({}))
    return one, transport


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


HEAD = f.frame(f.HEADERS, 0, 1, block())


BEGUN = [HEAD, HEAD + f.frame(f.CONTINUATION, 0, 1, b""), HEAD[:-1], HEAD[:3]]


@pytest.mark.parametrize("begun", BEGUN, ids=["a block", "a longer block", "a frame", "a frame's head"])
async def test_what_begins_and_never_ends_is_hung_up_on(
    monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    monkeypatch.setattr(connection, "PART_S", 0.05)
    async with served() as it, connected(it.grpc_port) as peer:
        peer.writer.write(begun)
        assert await peer.farewell() == Code.NO_ERROR


@pytest.mark.parametrize(
    ("first", "then", "is_kept"),
    [
        (HEAD, f.frame(f.CONTINUATION, 0, 1, b""), False),
        (HEAD[:9], HEAD[9:12], False),
        (HEAD, f.frame(f.CONTINUATION, f.END_HEADERS, 1, b""), True),
        (HEAD[:9], HEAD[9:] + f.frame(f.CONTINUATION, f.END_HEADERS, 1, b"") + HEAD[:9], True),
    ],
    ids=["a block goes on", "a frame goes on", "a block ends", "another begins"],
)
async def test_time_is_from_the_beginning_of_a_frame_or_header_block(
    clock: Clock, first: bytes, then: bytes, is_kept: bool
) -> None:
    one, transport = alone()
    for data in (first, then, b""):
        one.data_received(data)
        assert not transport.write_eof.called
        await clock.turn_s(0.4 * connection.PART_S)
    assert transport.write_eof.called is not is_kept
    one.connection_lost(None)


async def test_who_is_not_read_has_not_been_slow(clock: Clock) -> None:
    one, transport = alone()
    one.data_received(HEAD)
    one.pause_writing()
    await clock.turn_s(1.1 * connection.PART_S)
    assert not transport.write_eof.called
    one.resume_writing()
    await clock.turn_s(1.1 * connection.PART_S)
    assert transport.write_eof.called
    one.connection_lost(None)


@pytest.mark.parametrize("path", [SCORE, STREAM, PREDICT, RERANK])
async def test_a_byte_now_and_then_is_no_request(clock: Clock, path: str) -> None:
    """As a body over REST: its time is from its beginning, not from its last byte."""
    async with served(limits=PATIENT, dialects=["tei"]) as it, connected(it.grpc_port) as peer:
        peer.send(f.HEADERS, f.END_HEADERS, 1, block(path=path))
        for byte in ONE[:2]:
            peer.send(f.DATA, 0, 1, bytes([byte]))
            await clock.pass_s(peer, 0.4 * calls.ARRIVAL_S)
        peer.send(f.DATA, 0, 1, ONE[2:3])
        answering = asyncio.ensure_future(peer.answer(1))
        clock.ahead_s += 0.4 * calls.ARRIVAL_S
        answer = await answering
        assert (answer.status, answer.code) == (4, "deadline_exceeded")
        peer.call(3)
        assert (await peer.answer(3)).status == 0


async def test_nor_is_a_message_now_and_then_where_all_are_answered_together(clock: Clock) -> None:
    async with served(limits=PATIENT, dialects=["tei"]) as it, connected(it.grpc_port) as peer:
        for stream in (1, 3):
            peer.send(f.HEADERS, f.END_HEADERS, stream, block(path=RERANK))
            peer.send(f.DATA, 0, stream, RERANKED)
        await clock.pass_s(peer, 0.6 * calls.ARRIVAL_S)
        peer.send(f.DATA, 0, 1, RERANKED)
        peer.send(f.DATA, f.END_STREAM, 3, RERANKED)
        assert (await peer.answer(3)).status == 0
        answering = asyncio.ensure_future(peer.answer(1))
        clock.ahead_s += 0.6 * calls.ARRIVAL_S
        answer = await answering
        assert (answer.status, answer.code) == (4, "deadline_exceeded")


@pytest.mark.parametrize(("path", "one"), [(STREAM, ONE), (PREDICT, PREDICTED)])
async def test_a_stream_whose_messages_are_answered_one_by_one_may_pause_between_them(
    clock: Clock, path: str, one: bytes
) -> None:
    async with served(limits=PATIENT, dialects=["tei"]) as it, connected(it.grpc_port) as peer:
        peer.send(f.HEADERS, f.END_HEADERS, 1, block(path=path))
        for _ in range(3):
            peer.send(f.DATA, 0, 1, one[:9])
            await clock.pass_s(peer, 0.6 * call.MESSAGE_S)
            peer.send(f.DATA, 0, 1, one[9:])
            await peer.until(f.DATA, 1)
            await clock.pass_s(peer, 2 * call.MESSAGE_S)
        peer.send(f.DATA, f.END_STREAM, 1)
        assert (await peer.answer(1)).status == 0


async def test_a_message_behind_others_is_timed_once_they_are_read(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whom the service holds back has not been slow."""
    monkeypatch.setattr(score_stream, "MAX_IN_FLIGHT", 1)
    gate = Gate()
    async with served(load=gate.load, limits=PATIENT) as it, connected(it.grpc_port) as peer:
        peer.send(f.HEADERS, f.END_HEADERS, 1, block(path=STREAM))
        peer.send(f.DATA, 0, 1, 3 * ONE + ONE[:9])
        await gate.until_entered()
        await clock.pass_s(peer, 2 * call.MESSAGE_S)
        gate.opened.set()
        for _ in range(3):
            await peer.until(f.DATA, 1)
        peer.send(f.DATA, f.END_STREAM, 1, ONE[9:])
        assert (await peer.answer(1)).status == 0


async def test_taking_a_byte_now_and_then_is_not_taking_an_answer(clock: Clock) -> None:
    no_room = struct.pack(">HI", f.INITIAL_WINDOW, 0)
    async with served() as it, connected(it.grpc_port, no_room) as peer:
        peer.call(1)
        await peer.until(f.HEADERS, 1)
        for _ in range(2):
            peer.send(f.WINDOW_UPDATE, 0, 1, f.UINT32.pack(1))
            await peer.until(f.DATA, 1)
            clock.ahead_s += 0.6 * call.WRITE_S
        assert (await peer.answer(1)).reset == Code.CANCEL


async def test_a_large_answer_has_more_time(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call, "WRITE_BYTES_PER_S", 1)
    no_room = struct.pack(">HI", f.INITIAL_WINDOW, 0)
    async with served() as it, connected(it.grpc_port, no_room) as peer:
        peer.call(1)
        await peer.until(f.HEADERS, 1)
        await clock.pass_s(peer, 1.1 * call.WRITE_S)
        peer.send(f.WINDOW_UPDATE, 0, 1, f.UINT32.pack(100_000))
        assert (await peer.answer(1)).status == 0


@pytest.mark.parametrize("path", [STREAM, PREDICT, RERANK])
async def test_what_cannot_be_inflated_ends_its_stream_and_holds_no_call(path: str) -> None:
    limits = Limits(max_calls=1)
    async with served(limits=limits, dialects=["tei"]) as it, connected(it.grpc_port) as peer:
        peer.send(f.HEADERS, f.END_HEADERS, 1, block(path=path, grpc_encoding="gzip"))
        peer.send(f.DATA, 0, 1, message(gzip.compress(ONE)[:-4], flag=1))
        assert (await peer.answer(1)).status == 13
        for stream in range(3, 40, 2):  # its tasks end within a few turns of the loop
            peer.call(stream)
            if (await peer.answer(stream)).status == 0:
                return
        raise AssertionError("the stream still counts as a call at work")
