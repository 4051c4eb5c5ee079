"""Messages, inflated, are bounded on a connection and in all while their calls are at work."""

import gzip
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_service.core import at_work
from guerdon_service.rpc.http2 import calls, server
from guerdon_service.rpc.http2 import frames as f
from tests.contract.harness import Gate, Served, served
from tests.rpc.http2.peer import LIMITS, STREAM, Peer, block, connected, message

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = "x" * 61_000
"""Five of it are over three times the largest message, three are not over twice that."""
REQUEST = pb.ScoreRequest(items=[pb.ScoreItem(prompt=TEXT, response="r")])
SMALL = pb.ScoreRequest(items=[pb.ScoreItem(prompt=TEXT[:15_000], response="r")])
"""Two of it, beside three of those, are over twice the largest message too."""
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
ENCODINGS = ("gzip", "identity")


def sent(data: bytes, encoding: str) -> bytes:
    """A message of 61,000 bytes, or of the hundred that it is compressed to."""
    return message(gzip.compress(data), flag=1) if encoding == "gzip" else message(data)


def ask(peer: Peer, *streams: int, encoding: str = "gzip", request: pb.ScoreRequest = REQUEST) -> None:
    asked = sent(request.SerializeToString(), encoding)
    for stream in streams:
        peer.call(stream, asked, grpc_encoding=encoding)


async def statuses(peer: Peer, *streams: int) -> list[tuple[int, str]]:
    return [(answer.status, answer.code) for answer in (await peer.answers(*streams)).values()]


@pytest.fixture(autouse=True)
def _small_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count as what they are."""
    monkeypatch.setattr(at_work, "LEAST_BYTES", 0)


@pytest_asyncio.fixture(loop_scope="module")
async def waiting() -> AsyncIterator[tuple[Served, Gate]]:
    gate = Gate()
    async with served(load=gate.load, limits=LIMITS) as it:
        try:
            yield it, gate
        finally:
            gate.opened.set()


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_a_connections_messages_have_a_bound_and_give_it_back(
    waiting: tuple[Served, Gate], monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setattr(calls, "UNFINISHED_MESSAGES", 2)
    it, gate = waiting
    async with connected(it.grpc_port) as peer:
        ask(peer, 1, 3, 5, 7, encoding=encoding)
        assert await statuses(peer, 7) == [(8, "overloaded")]
        ask(peer, 9, 11, encoding=encoding, request=SMALL)
        peer.send(f.PING, 0, 0, bytes(8))
        await peer.until(f.PING)
        gate.opened.set()
        assert await statuses(peer, 1, 3, 5, 9, 11) == [(0, "")] * 5, "small ones come through"
        ask(peer, 13, 15, 17, encoding=encoding)
        assert await statuses(peer, 13, 15, 17) == [(0, "")] * 3


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_what_a_stream_has_answered_counts_no_more(
    waiting: tuple[Served, Gate], monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setattr(calls, "UNFINISHED_MESSAGES", 2)
    one = sent(pb.ScoreStreamRequest(request=REQUEST).SerializeToString(), encoding)
    it, gate = waiting
    async with connected(it.grpc_port) as peer:
        for stream in (1, 3):
            peer.send(f.HEADERS, f.END_HEADERS, stream, block(path=STREAM, grpc_encoding=encoding))
        for _ in range(3):
            peer.send(f.DATA, 0, 1, one)
        peer.send(f.PING, 0, 0, bytes(8))
        await peer.until(f.PING)
        peer.send(f.DATA, 0, 3, one)
        assert await statuses(peer, 3) == [(8, "overloaded")]
        gate.opened.set()
        for _ in range(3):
            await peer.until(f.DATA, 1)
        for _ in range(4):
            peer.send(f.DATA, 0, 1, one)
            await peer.until(f.DATA, 1)
        peer.send(f.DATA, f.END_STREAM, 1)
        assert await statuses(peer, 1) == [(0, "")]


async def test_nor_does_what_reflection_has_answered(
    waiting: tuple[Served, Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "UNFINISHED_MESSAGES", 1)
    one = message(ServerReflectionRequest(file_containing_symbol=TEXT).SerializeToString())
    wide = f.SETTING.pack(f.INITIAL_WINDOW, f.MAX_WINDOW)  # the answers repeat what was asked
    async with connected(waiting[0].grpc_port, wide) as peer:
        peer.send(f.WINDOW_UPDATE, 0, 0, f.UINT32.pack(2**20))
        peer.send(f.HEADERS, f.END_HEADERS, 1, block(path=REFLECTION))
        for _ in range(4):
            peer.send(f.DATA, 0, 1, one)
            await peer.until(f.DATA, 1)
        peer.send(f.DATA, f.END_STREAM, 1)
        assert await statuses(peer, 1) == [(0, "")]


async def test_so_do_those_of_all_connections(
    waiting: tuple[Served, Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "UNFINISHED_MESSAGES", 3)
    it, gate = waiting
    async with connected(it.grpc_port) as one, connected(it.grpc_port) as another:
        ask(one, 1, 3, 5, 7)
        one.send(f.PING, 0, 0, bytes(8))
        await one.until(f.PING)
        ask(another, 1)
        assert await statuses(another, 1) == [(8, "overloaded")]
        gate.opened.set()
        assert await statuses(one, 1, 3, 5, 7) == [(0, "")] * 4
        ask(another, 3)
        assert await statuses(another, 3) == [(0, "")]


async def test_watchers_without_a_key_leave_that_room_to_others(
    waiting: tuple[Served, Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their messages are small, and as bounded as those that are not compressed: they do not count."""
    monkeypatch.setattr(calls, "UNFINISHED_MESSAGES", 1)
    watched = sent(health_pb2.HealthCheckRequest(service=TEXT).SerializeToString(), "gzip")
    it, gate = waiting
    gate.opened.set()
    async with connected(it.grpc_port) as peer:
        for stream in (1, 3, 5, 7):
            peer.call(stream, watched, path="/grpc.health.v1.Health/Watch", grpc_encoding="gzip")
            await peer.until(f.DATA, stream)
        ask(peer, 9)
        assert await statuses(peer, 9) == [(0, "")]


async def test_however_small_messages_may_be_a_stream_is_slowed_and_not_ended(
    waiting: tuple[Served, Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(at_work, "LEAST_BYTES", 8 * 1024 * 1024)
    monkeypatch.setattr(calls, "UNFINISHED_MESSAGES", 1)
    one = sent(pb.ScoreStreamRequest(request=REQUEST).SerializeToString(), "gzip")
    it, gate = waiting
    gate.opened.set()
    async with connected(it.grpc_port) as peer:
        peer.send(f.HEADERS, f.END_HEADERS, 1, block(path=STREAM, grpc_encoding="gzip"))
        peer.send(f.DATA, f.END_STREAM, 1, one * 40)
        assert await statuses(peer, 1) == [(0, "")]
