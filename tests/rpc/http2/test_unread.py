"""What one connection sends ahead of all its handlers has a bound; who keeps to it loses nothing."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle

import pytest

from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_service.rpc import stream as score_stream
from guerdon_service.rpc.http2 import connection
from guerdon_service.rpc.http2 import frames as f
from guerdon_service.rpc.http2.call import STREAM_WINDOW
from guerdon_service.rpc.http2.frames import Code
from guerdon_service.rpc.http2.messages import MessageReader
from tests.contract.harness import Gate, Served, served
from tests.rpc.http2.peer import LIMITS, STREAM, Peer, block, connected, message

pytestmark = pytest.mark.asyncio(loop_scope="module")

STREAMS = range(1, 2 * LIMITS.max_streams, 2)
TEXT = "x" * 9_000
ASKED = pb.ScoreStreamRequest(request=pb.ScoreRequest(items=[pb.ScoreItem(prompt=TEXT, response="r")]))
ONE = message(ASKED.SerializeToString())
TAKEN_BYTES = 2 * len(STREAMS) * len(ONE)
"""Of messages that handlers have: one at work and one that waits for its place, of each stream."""


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "WINDOW", 200_000)
    monkeypatch.setattr(connection, "UNREAD_BYTES", 200_000)
    monkeypatch.setattr(score_stream, "MAX_IN_FLIGHT", 1)


async def flood(peer: Peer) -> int:
    """Messages on all streams, as many as the connection's window lets in; how many."""
    for stream in STREAMS:
        peer.send(f.HEADERS, f.END_HEADERS, stream, block(path=STREAM))
    room, num_sent, streams = f.DEFAULT_WINDOW, 0, cycle(STREAMS)
    most = 4 * (connection.WINDOW + connection.UNREAD_BYTES + TAKEN_BYTES)
    while num_sent * len(ONE) < most:
        for _ in range(room // len(ONE)):
            peer.send(f.DATA, 0, next(streams), ONE)
            num_sent += 1
        peer.send(f.PING, 0, 0, bytes(8))
        more = await grown(peer)
        if not more:
            break
        room = room % len(ONE) + more
    return num_sent


async def grown(peer: Peer) -> int:
    """By how much the connection's window grew until a PING came back."""
    more = 0
    while (found := await peer.frame()) is not None:
        kind, _, stream, payload = found
        if kind == f.PING:
            return more
        if (kind, stream) == (f.WINDOW_UPDATE, 0):
            more += f.UINT32.unpack(payload)[0]
    raise AssertionError("the service hung up")


@asynccontextmanager
async def waiting() -> AsyncIterator[tuple[Served, Peer, Gate]]:
    """A service whose handlers wait for its gate, which is open in the end, and a peer."""
    gate = Gate()
    async with served(load=gate.load, limits=LIMITS) as it, connected(it.grpc_port) as peer:
        try:
            yield it, peer, gate
        finally:
            gate.opened.set()


async def test_who_floods_many_streams_is_held_back_and_then_answered() -> None:
    async with waiting() as (_, peer, gate):
        num_sent = await flood(peer)
        assert num_sent * len(ONE) <= connection.WINDOW + connection.UNREAD_BYTES + TAKEN_BYTES
        gate.opened.set()
        for stream in STREAMS:
            peer.send(f.DATA, f.END_STREAM, stream)
        answers = (await peer.answers(*STREAMS)).values()
    assert [answer.status for answer in answers] == [0] * len(STREAMS)
    reader = MessageReader(100_000, "identity")
    for answer in answers:
        reader.feed(answer.data)
    assert len(reader) == num_sent


async def test_who_floods_on_is_hung_up_on_and_others_are_not() -> None:
    async with waiting() as (it, peer, _gate):
        await flood(peer)
        for _ in range(connection.WINDOW // len(ONE) + 1):
            peer.send(f.DATA, 0, STREAMS[0], ONE)
        assert await peer.farewell() == Code.FLOW_CONTROL_ERROR
        await it.stub.ListModels(pb.ListModelsRequest())


async def test_what_a_reset_stream_had_sent_counts_no_more() -> None:
    async with waiting() as (_, peer, _):
        await flood(peer)
        for stream in STREAMS:
            peer.send(f.RST_STREAM, 0, stream, f.UINT32.pack(Code.CANCEL))
        await peer.until(f.WINDOW_UPDATE, 0)


async def test_grpcs_own_client_may_write_ahead_on_many_streams() -> None:
    """Nothing is lost, and nothing stands still, where all windows shut again and again."""

    async def asked() -> AsyncIterator[pb.ScoreStreamRequest]:
        for _ in range(30):
            yield ASKED

    async with served() as it:

        async def answered() -> int:
            return len([reply async for reply in it.stub.ScoreStream(asked()) if reply.response.scores])

        assert await asyncio.gather(*(answered() for _ in range(20))) == [30] * 20


async def test_empty_messages_wait_in_no_more_than_their_bytes() -> None:
    reader, ahead = MessageReader(1000, "identity"), message(b"") * (STREAM_WINDOW // 5)
    tracemalloc.start()
    try:
        for at in range(0, len(ahead), 50_000):
            reader.feed(ahead[at : at + 50_000])
        assert tracemalloc.get_traced_memory()[1] < 2 * STREAM_WINDOW
    finally:
        tracemalloc.stop()
    assert (len(reader), reader.num_unread, reader.take()) == (STREAM_WINDOW // 5, len(ahead), b"")
