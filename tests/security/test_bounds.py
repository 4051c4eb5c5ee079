"""Every dimension of a request has a bound; what is over it is told so and costs the service little.

Bytes, items, characters and JSON depth are in `tests/rest/test_bad_input.py`; tokens in `tests/engine`.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_protos.v1.guerdon_pb2_grpc import RewardServiceStub
from guerdon_service.app import doors
from guerdon_service.app.listen import Listening
from guerdon_service.core import at_work
from guerdon_service.core.limits import Limits
from guerdon_service.core.query import ScoreQuery
from guerdon_service.core.result import ScoreResult
from guerdon_service.core.strict_json import parse_json
from guerdon_service.rest import bodies, bounded_http
from tests.contract.harness import Gate, Watching, served
from tests.security.doors import BODY, opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS = {"max_header_bytes": 4096, "max_body_chunks": 50, "max_connections": 20}
CONTENT = json.dumps(BODY).encode()
POST = b"POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
REQUEST = pb.ScoreRequest(items=[pb.ScoreItem(prompt="p", response="r")])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def at() -> AsyncIterator[Listening]:
    async with opened(limits=LIMITS) as it:
        yield it


class Wire:
    """One connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    async def reply(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(60):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            body = await self.reader.readexactly(int(fields["content-length"]))
        return int(head[0].split()[1]), fields, body

    async def is_hung_up(self) -> bool:
        async with asyncio.timeout(60):
            try:
                return await self.reader.read() == b""
            except ConnectionError:
                return True


@asynccontextmanager
async def connected(at: Listening) -> AsyncIterator[Wire]:
    wire = Wire(*await asyncio.open_connection("127.0.0.1", at.port))
    try:
        yield wire
    finally:
        wire.writer.close()


async def refused(wire: Wire, status: int, code: str) -> dict[str, str]:
    """The refusal is the service's one error body, and the end of the connection."""
    got, fields, body = await wire.reply()
    assert (got, json.loads(body)["error"]["code"]) == (status, code)
    assert fields["connection"] == "close"
    assert await wire.is_hung_up()
    return fields


def chunked(content: bytes, count: int) -> bytes:
    """A request whose body comes in `count` chunks of one byte, and one with the rest."""
    singles = b"".join(b"1\r\n%c\r\n" % byte for byte in content[:count])
    rest = b"%x\r\n%b\r\n0\r\n\r\n" % (len(content) - count, content[count:])
    return POST + b"transfer-encoding: chunked\r\n\r\n" + singles + rest


async def scores(at: Listening) -> None:
    async with connected(at) as wire:
        await wire.send(POST + b"content-length: %d\r\n\r\n" % len(CONTENT) + CONTENT)
        assert (await wire.reply())[0] == 200


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\nx-long: " + b"x" * 5000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\n" + b"x-many: y\r\n" * 500 + b"\r\n",
    ],
    ids=["url", "one header", "many headers"],
)
async def test_a_head_over_its_bytes(at: Listening, head: bytes) -> None:
    async with connected(at) as wire:
        await wire.send(head)
        await refused(wire, 431, "headers_too_large")
    await scores(at)


async def test_a_header_without_an_end_is_not_kept(at: Listening) -> None:
    async with connected(at) as wire:
        await wire.send(b"GET / HTTP/1.1\r\nx-endless: ")
        await wire.send(*[b"y" * 1000] * 8)
        await refused(wire, 431, "headers_too_large")


async def test_a_body_in_too_many_chunks(at: Listening) -> None:
    """Six bytes a chunk, the shape of CVE-2025-23310 and 23311."""
    async with connected(at) as wire:
        await wire.send(POST + b"transfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n" * 51)
        await refused(wire, 413, "payload_too_large")
    for count, status in ((48, 200), (49, 413)):  # and two more: the rest, and the empty one at the end
        async with connected(at) as wire:
            await wire.send(chunked(CONTENT + b" " * 50, count))
            assert (await wire.reply())[0] == status
    await scores(at)


async def test_chunks_are_counted_for_each_request_of_a_connection(at: Listening) -> None:
    async with connected(at) as wire:
        for _ in range(4):
            await wire.send(chunked(CONTENT, 30))
            assert (await wire.reply())[0] == 200


async def test_who_never_reads_is_hung_up_on(at: Listening, monkeypatch: pytest.MonkeyPatch) -> None:
    gone, lost = asyncio.Event(), bounded_http.BoundedHttp.connection_lost

    def seen(self: bounded_http.BoundedHttp, exc: Exception | None) -> None:
        lost(self, exc)
        gone.set()

    monkeypatch.setattr(bounded_http, "WRITE_TIMEOUT_S", 0.05)
    monkeypatch.setattr(bounded_http.BoundedHttp, "connection_lost", seen)
    with socket.create_connection(("127.0.0.1", at.port)) as deaf:
        deaf.sendall(b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n" * 500)
        await asyncio.wait_for(gone.wait(), 60)
    await scores(at)


async def test_more_connections_than_there_may_be(at: Listening) -> None:
    wires = [Wire(*await asyncio.open_connection("127.0.0.1", at.port)) for _ in range(20)]
    try:
        for wire in wires:
            await wire.send(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (await wire.reply())[0] == 200
        async with connected(at) as late:
            fields = await refused(late, 503, "too_many_connections")
            assert fields["retry-after"] == "1"
    finally:
        for wire in wires:
            wire.writer.close()
            await wire.writer.wait_closed()


async def test_a_slow_head_and_a_slow_body_and_a_silent_connection_are_hung_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Slowloris. One byte now and then does not buy more time."""

    class Hasty(bounded_http.BoundedHttp):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, head_timeout_s=0.05, body_timeout_s=0.05, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(doors, "BoundedHttp", Hasty)
    async with opened() as at:
        for sent in (b"", b"GET / HT", POST + b"content-length: 100\r\n\r\n{"):
            async with connected(at) as wire:
                await wire.send(sent)
                await refused(wire, 408, "request_timeout")


async def test_malformed_http_is_told_in_the_one_error_body(at: Listening) -> None:
    for garbage in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ):
        async with connected(at) as wire:
            await wire.send(garbage)
            await refused(wire, 400, "bad_request")


async def test_request_smuggling_is_refused(at: Listening) -> None:
    """Two lengths, or a length and chunks, could be read differently by a proxy in front."""
    for headers in (
        b"content-length: 5\r\ntransfer-encoding: chunked\r\n",
        b"content-length: 5\r\ncontent-length: 6\r\n",
        b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        b"transfer-encoding : chunked\r\n",
        b"content-length: +5\r\n",
    ):
        async with connected(at) as wire:
            await wire.send(POST + headers + b"\r\n0\r\n\r\n")
            assert (await wire.reply())[0] == 400, headers


async def test_json_nested_without_end_neither_crashes_nor_hangs() -> None:
    for opening in (b"[", b'{"a":'):
        with pytest.raises(Exception, match="nested too deep"):
            parse_json(opening * 500_000)


async def test_grpc_metadata_over_its_bytes(at: Listening) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{at.grpc_port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as err:
            await RewardServiceStub(channel).Score(REQUEST, metadata=(("x-long", "y" * 6000),))
        assert err.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert len((await RewardServiceStub(channel).Score(REQUEST)).scores) == 1


async def test_bodies_at_work_have_a_bound_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """On any number of connections. Small ones come through and do not count, nor does what is answered, or
    refused.
    """
    monkeypatch.setattr(bodies, "MOST_BODIES", 2)
    monkeypatch.setattr(at_work, "LEAST_BYTES", 0)
    gate, observer = Gate(), Watching()
    async with served(load=gate.load, observer=observer, limits=Limits(max_body_bytes=100_000)) as it:

        async def ask(num_chars: int = 61_000) -> int:
            item = {"prompt": "x" * num_chars, "response": "r"}
            reply = await it.rest.post("/v1/score", json={"items": [item]})
            assert reply.status_code == 200 or reply.headers["retry-after"] == "1"
            return reply.status_code

        first = []
        for num_chars in (*[15_000] * 14, 61_000, 61_000, 61_000, 15_000, 15_000):
            first.append(asyncio.ensure_future(ask(num_chars)))
            await observer.until(lambda: observer.num_admitted == len(first))
        assert await ask() == 429
        gate.opened.set()
        assert await asyncio.gather(*first) == [200] * 19
        assert await asyncio.gather(*(ask() for _ in range(3))) == [200] * 3


async def test_more_calls_than_may_be_at_work() -> None:
    gate = Gate()
    async with served(load=gate.load, limits=Limits(max_calls=3)) as it:
        first = [asyncio.ensure_future(it.stub.Score(REQUEST)) for _ in range(3)]
        await gate.until_entered()
        async with asyncio.timeout(60):
            while True:  # until the server has seen all three
                try:
                    await it.stub.ListModels(pb.ListModelsRequest(), timeout=30)
                except grpc.aio.AioRpcError as err:
                    assert err.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
                    break
        gate.opened.set()
        assert [len(reply.scores) for reply in await asyncio.gather(*first)] == [1, 1, 1]


@pytest.mark.parametrize("max_streams", [2, 100])
async def test_one_connection_has_no_more_than_its_share_of_streams(
    max_streams: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gRPC refuses the rest, which its caller may send again, or holds it back."""
    at_work, peak = 0, 0
    async with served(limits=Limits(max_streams=max_streams)) as it:
        await it.stub.Score(REQUEST)  # by which the caller knows of the bound
        score = it.service.score

        async def counted(query: ScoreQuery) -> ScoreResult:
            nonlocal at_work, peak
            at_work += 1
            peak = max(peak, at_work)
            if max_streams > 50:
                await all_there.wait()
            result = await score(query)
            at_work -= 1
            return result

        monkeypatch.setattr(it.service, "score", counted)
        all_there = asyncio.Event()
        calls = [asyncio.ensure_future(it.stub.Score(REQUEST)) for _ in range(50)]
        if max_streams > 50:
            async with asyncio.timeout(60):
                while at_work < 50:
                    await asyncio.sleep(0)
            all_there.set()
        replies = await asyncio.gather(*calls, return_exceptions=True)
    assert peak == 50 if max_streams > 50 else peak <= max_streams
    refused = [reply for reply in replies if isinstance(reply, grpc.aio.AioRpcError)]
    assert {err.code() for err in refused} <= {grpc.StatusCode.UNAVAILABLE}
    assert len(refused) < len(replies)


async def test_every_limit_is_held_by_a_test() -> None:
    """Where each bound is tested; a new one fails here until it names its test."""
    assert set(HELD_BY) == set(Limits.__dataclass_fields__)


HELD_BY = {
    "max_body_bytes": "tests/rest/test_bad_input.py, tests/rpc/test_bad_input.py",
    "max_header_bytes": "test_a_head_over_its_bytes, test_grpc_metadata_over_its_bytes",
    "max_body_chunks": "test_a_body_in_too_many_chunks",
    "max_json_depth": "tests/rest/test_bad_input.py",
    "max_items": "tests/rest/test_bad_input.py, tests/contract/test_contract.py",
    "max_item_chars": "tests/rest/test_bad_input.py, tests/contract/test_contract.py",
    "max_batch_tokens": "tests/engine/test_engine.py",
    "max_batch_tokens_cuda": "tests/scoring/test_batch_tokens.py",
    "max_queued_tokens": "tests/engine/test_engine.py",
    "max_connections": "test_more_connections_than_there_may_be",
    "max_streams": "test_one_connection_has_no_more_than_its_share_of_streams",
    "max_calls": "test_more_calls_than_may_be_at_work",
    "default_deadline_s": "tests/scoring/test_service.py",
}
