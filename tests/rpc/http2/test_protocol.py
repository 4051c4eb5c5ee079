"""HTTP/2 as RFC 9113 and gRPC ask for it; what a peer may not do costs it the stream or the connection."""

import asyncio
import gzip
import random
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from string import ascii_lowercase

import pytest

from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_service.core.errors import PayloadTooLarge
from guerdon_service.core.limits import Limits
from guerdon_service.rpc.http2 import frames as f
from guerdon_service.rpc.http2.call import STREAM_WINDOW
from guerdon_service.rpc.http2.calm import BURST
from guerdon_service.rpc.http2.frame_reader import MAX_FRAME_BYTES
from guerdon_service.rpc.http2.frames import Code
from guerdon_service.rpc.http2.messages import FREE_BYTES, MessageReader
from tests.contract.harness import Gate, Served, served
from tests.rpc.http2.peer import GOOD, LIMITS, STREAM, block, connected, message

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_call_is_answered(running: Served) -> None:
    async with connected(running.grpc_port) as peer:
        peer.call(1)
        peer.call(3)
        found = await peer.answers(1, 3)
    assert [(a.status, len(a.reply.scores)) for a in found.values()] == [(0, 1), (0, 1)]
    assert found[1].headers[":status"] == "200"
    assert found[1].headers["content-type"] == "application/grpc"


async def test_every_byte_may_come_alone(running: Served) -> None:
    whole = f.frame(f.HEADERS, f.END_HEADERS, 1, block()) + f.frame(f.DATA, f.END_STREAM, 1, message())
    async with connected(running.grpc_port) as peer:
        for byte in whole:
            peer.writer.write(bytes((byte,)))
            await peer.writer.drain()
        assert (await peer.answer(1)).status == 0


async def test_header_blocks_in_parts_with_padding_and_priority(running: Served) -> None:
    first, rest = block()[:20], block()[20:]
    async with connected(running.grpc_port) as peer:
        flags = f.PADDED | f.HAS_PRIORITY
        peer.send(f.HEADERS, flags, 1, b"\x03" + bytes(5) + first + bytes(3))
        peer.send(f.CONTINUATION, 0, 1)
        peer.send(f.CONTINUATION, f.END_HEADERS, 1, rest)
        peer.send(f.DATA, f.PADDED | f.END_STREAM, 1, b"\x05" + message() + bytes(5))
        assert (await peer.answer(1)).status == 0


async def test_known_header_blocks_follow_the_table(running: Served) -> None:
    """The same bytes mean another thing after the table has changed."""
    indexed = b"".join(b"\x40" + field[1:] for field in _fields(block(x_request_id="first")))
    refer = bytes(0x80 | 62 + i for i in reversed(range(7)))
    longer = b"\x40" + _fields(block(x_request_id="second"))[-1][1:]
    async with connected(running.grpc_port) as peer:
        for stream, sent in ((1, indexed), (3, refer), (5, refer)):
            peer.send(f.HEADERS, f.END_HEADERS, stream, sent)
            peer.send(f.DATA, f.END_STREAM, stream, message())
            assert (await peer.answer(stream)).headers["x-request-id"] == "first"
        # One more entry moves every index by one; what was the id is now the newest of two.
        moved = bytes(0x80 | 62 + i for i in reversed(range(2, 8))) + longer
        peer.send(f.HEADERS, f.END_HEADERS, 7, bytes(b - 1 for b in moved[:6]) + longer)
        peer.send(f.DATA, f.END_STREAM, 7, message())
        assert (await peer.answer(7)).headers["x-request-id"] == "second"
        peer.send(f.HEADERS, f.END_HEADERS, 9, refer)
        assert (await peer.answer(9)).reset == Code.PROTOCOL_ERROR, "its method is gone: two ids, no method"


def _fields(data: bytes) -> list[bytes]:
    """Literal fields of a block, each below 127 bytes of name and value."""
    fields = []
    while data:
        end = 2 + data[1]
        end += 1 + data[end]
        fields.append(data[:end])
        data = data[end:]
    return fields


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "identity"])
async def test_compressed_messages(running: Served, encoding: str) -> None:
    packs: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}
    pack = packs.get(encoding, bytes)
    async with connected(running.grpc_port) as peer:
        data = message(pack(GOOD.SerializeToString()), flag=int(encoding != "identity"))
        peer.call(1, data, grpc_encoding=encoding)
        assert (await peer.answer(1)).status == 0


async def test_a_message_that_grows_beyond_its_bound_is_refused(running: Served) -> None:
    async with connected(running.grpc_port) as peer:
        bomb = gzip.compress(bytes(50_000_000))
        assert len(bomb) < LIMITS.max_body_bytes
        peer.call(1, message(bomb, flag=1), grpc_encoding="gzip")
        assert (await peer.answer(1)).status == 8
        for stream, encoding in ((3, "br"), (5, "identity"), (7, "gzip")):
            peer.call(stream, message(b"\x00not it", flag=1), grpc_encoding=encoding)
        assert [a.status for a in (await peer.answers(3, 5, 7)).values()] == [12, 12, 13]


async def test_compressed_messages_wait_as_they_came() -> None:
    """What fits a stream's window must not hold many times that before anybody reads it."""
    bomb = message(gzip.compress(90 * random.Random(0).randbytes(4_000)), flag=1)
    reader = MessageReader(8_000_000, "gzip")
    tracemalloc.start()
    try:
        for _ in range(STREAM_WINDOW // len(bomb)):
            reader.feed(bomb)
        assert tracemalloc.get_traced_memory()[1] < 2 * STREAM_WINDOW
    finally:
        tracemalloc.stop()
    assert (len(reader) > 100, len(reader.take())) == (True, 360_000)


async def test_short_answers_to_one_long_prompt_may_be_compressed() -> None:
    drawn = random.Random(0)
    words = ["".join(drawn.choices(ascii_lowercase, k=drawn.randrange(2, 9))) for _ in range(2_000)]
    prompt = " ".join(drawn.choices(words, k=1_500))
    items = [pb.ScoreItem(prompt=prompt, response=drawn.choice(words)) for _ in range(900)]
    whole = pb.ScoreRequest(items=items).SerializeToString()
    sent = gzip.compress(whole, 6)
    assert len(whole) > 100 * len(sent) + FREE_BYTES
    reader = MessageReader(16_000_000, "gzip")
    reader.feed(message(sent, flag=1))
    assert reader.take() == whole


@pytest.mark.parametrize(
    ("whole", "refused"), [(1_000_000, "grows to more"), (9_000_000, "grows"), (FREE_BYTES, "")]
)
async def test_a_message_that_grows_out_of_proportion_is_refused(whole: int, refused: str) -> None:
    reader = MessageReader(8_000_000, "gzip")
    reader.feed(message(gzip.compress(bytes(whole)), flag=1))
    if not refused:
        assert len(reader.take()) == whole
        return
    with pytest.raises(PayloadTooLarge, match=refused):
        reader.take()


@pytest.mark.parametrize(
    "bad", [b"not it", gzip.compress(bytes(1000), mtime=0)[:-9]], ids=["no gzip", "torn"]
)
async def test_a_stream_ends_at_what_cannot_be_inflated(running: Served, bad: bytes) -> None:
    one = pb.ScoreStreamRequest(id="1", request=GOOD).SerializeToString()
    async with connected(running.grpc_port) as peer:
        data = message(gzip.compress(one), flag=1) + message(bad, flag=1)
        peer.call(1, data, path=STREAM, grpc_encoding="gzip")
        assert (await peer.answer(1)).status == 13


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"path": "/guerdon.v1.RewardService/Guess"}, 12, ""),
        ({"path": "/"}, 12, ""),
        ({"grpc_timeout": "soon"}, 3, "invalid_input"),
        ({"grpc_timeout": "123456789S"}, 3, "invalid_input"),
        ({"x_long": "y" * 5000}, 8, "payload_too_large"),
        ({"path": STREAM}, 0, ""),
    ],
)
async def test_calls_that_are_answered_by_their_status(
    running: Served, changed: dict[str, str], status: int, code: str
) -> None:
    async with connected(running.grpc_port) as peer:
        peer.call(1, b"", **changed)
        answer = await peer.answer(1)
        assert (answer.status, answer.code) == (status, code)


@pytest.mark.parametrize(("data", "status"), [(b"", 12), (message() * 2, 12), (message()[:-1], 12)])
async def test_one_message_means_one(running: Served, data: bytes, status: int) -> None:
    async with connected(running.grpc_port) as peer:
        peer.call(1, data)
        assert (await peer.answer(1)).status == status


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"method": "GET"}, "405"),
        ({"content_type": "application/json"}, "415"),
        ({"content_type": ""}, "415"),
    ],
)
async def test_what_is_no_grpc_is_told_so_over_http(
    running: Served, changed: dict[str, str], status: str
) -> None:
    async with connected(running.grpc_port) as peer:
        peer.call(1, None, **changed)
        assert (await peer.answer(1)).headers == {":status": status}


BAD_HEADS = {
    "upper case": block() + b"\x00\x01X\x01y",
    "a pseudo-header after others": block() + b"\x00\x05:path\x01/",
    "an unknown pseudo-header": b"\x00\x03:me\x01y" + block(),
    "no path": block().replace(b"\x05:path", b"\x05xpath"),
    "of connections": block() + b"\x00\x0aconnection\x05close",
    "a line's end in a value": block() + b"\x00\x01x\x03a\r\n",
    "binary metadata that is none": block() + b"\x00\x05x-bin\x01!" + b"\x00\x06xy-bin\x01a",
    "nothing": b"",
}


@pytest.mark.parametrize("case", BAD_HEADS)
async def test_a_malformed_head_costs_its_stream_alone(running: Served, case: str) -> None:
    async with connected(running.grpc_port) as peer:
        peer.send(f.HEADERS, f.END_HEADERS, 1, BAD_HEADS[case])
        peer.call(3)
        found = await peer.answers(1, 3)
    assert (found[1].reset, found[3].status) == (Code.PROTOCOL_ERROR, 0)


H = f.frame(f.HEADERS, f.END_HEADERS, 1, block())
FAULTS: dict[str, tuple[bytes, Code]] = {
    "DATA on an idle stream": (f.frame(f.DATA, 0, 1, b"x"), Code.PROTOCOL_ERROR),
    "RST_STREAM on an idle stream": (f.frame(f.RST_STREAM, 0, 9, bytes(4)), Code.PROTOCOL_ERROR),
    "WINDOW_UPDATE on an idle stream": (f.frame(f.WINDOW_UPDATE, 0, 9, b"\0\0\0\1"), Code.PROTOCOL_ERROR),
    "an even stream": (f.frame(f.HEADERS, f.END_HEADERS, 2, block()), Code.PROTOCOL_ERROR),
    "a push": (f.frame(f.PUSH_PROMISE, 0, 1, bytes(4)), Code.PROTOCOL_ERROR),
    "a header block interrupted": (
        f.frame(f.HEADERS, 0, 1, block()) + f.frame(f.PING, 0, 0, bytes(8)),
        Code.PROTOCOL_ERROR,
    ),
    "CONTINUATION of nothing": (f.frame(f.CONTINUATION, f.END_HEADERS, 1, b""), Code.PROTOCOL_ERROR),
    "CONTINUATION without end": (
        f.frame(f.HEADERS, 0, 1, block()) + f.frame(f.CONTINUATION, 0, 1, bytes(60_000)) * 5,
        Code.ENHANCE_YOUR_CALM,
    ),
    "HPACK that is none": (
        f.frame(f.HEADERS, f.END_HEADERS, 1, b"\xff\xff\xff\xff\xff"),
        Code.COMPRESSION_ERROR,
    ),
    "an HPACK bomb": (
        f.frame(f.HEADERS, f.END_HEADERS, 1, b"\x40\x01x\x7f\xa1\x1e" + b"y" * 4000 + b"\xbe" * 200),
        Code.ENHANCE_YOUR_CALM,
    ),
    "a table's long entry again and again": (
        f.frame(f.HEADERS, f.END_HEADERS, 1, b"\x40\x01x\x7f\xa1\x1e" + b"y" * 4000 + b"\xbe" * 10),
        Code.ENHANCE_YOUR_CALM,
    ),
    "heads of very many fields": (
        b"".join(f.frame(f.HEADERS, f.END_HEADERS, s, block() + b"\x90" * 300) for s in range(1, 160, 2)),
        Code.ENHANCE_YOUR_CALM,
    ),
    "trailers without end": (
        H + f.frame(f.HEADERS, f.END_HEADERS | f.END_STREAM, 1) * (2 * BURST + 2000),
        Code.ENHANCE_YOUR_CALM,
    ),
    "a long frame": (
        f.HEAD.pack(MAX_FRAME_BYTES + 1 >> 8, MAX_FRAME_BYTES + 1 & 255, f.DATA, 0, 1),
        Code.FRAME_SIZE_ERROR,
    ),
    "a short PING": (f.frame(f.PING, 0, 0, b"x"), Code.FRAME_SIZE_ERROR),
    "PING on a stream": (f.frame(f.PING, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
    "SETTINGS on a stream": (f.frame(f.SETTINGS, 0, 1), Code.PROTOCOL_ERROR),
    "half a setting": (f.frame(f.SETTINGS, 0, 0, b"xyz"), Code.FRAME_SIZE_ERROR),
    "an acknowledgement that says more": (f.frame(f.SETTINGS, f.ACK, 0, bytes(6)), Code.FRAME_SIZE_ERROR),
    "too large a window": (f.settings({f.INITIAL_WINDOW: 2**31}), Code.FLOW_CONTROL_ERROR),
    "too small a frame": (f.settings({f.MAX_FRAME_SIZE: 1}), Code.PROTOCOL_ERROR),
    "a push that is neither": (f.settings({f.ENABLE_PUSH: 2}), Code.PROTOCOL_ERROR),
    "a window of nothing": (f.frame(f.WINDOW_UPDATE, 0, 0, bytes(4)), Code.PROTOCOL_ERROR),
    "a priority of nothing": (f.frame(f.PRIORITY, 0, 0, b"x"), Code.PROTOCOL_ERROR),
    "a frame of very many settings": (
        f.frame(f.SETTINGS, 0, 0, f.SETTING.pack(f.INITIAL_WINDOW, 9) * (BURST + 2000)),
        Code.ENHANCE_YOUR_CALM,
    ),
    "a window that overflows": (f.frame(f.WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), Code.FLOW_CONTROL_ERROR),
    "padding without end": (H + f.frame(f.DATA, f.PADDED, 1, b"\x09x"), Code.PROTOCOL_ERROR),
    "a priority cut short": (
        f.frame(f.HEADERS, f.END_HEADERS | f.HAS_PRIORITY, 1, b"x"),
        Code.FRAME_SIZE_ERROR,
    ),
    "PINGs without end": (f.frame(f.PING, 0, 0, bytes(8)) * (BURST + 2000), Code.ENHANCE_YOUR_CALM),
    "SETTINGS without end": (f.settings({}) * (BURST + 2000), Code.ENHANCE_YOUR_CALM),
    "empty DATA without end": (H + f.frame(f.DATA, 0, 1) * (BURST + 2000), Code.ENHANCE_YOUR_CALM),
}


@pytest.mark.parametrize("case", FAULTS)
async def test_a_broken_protocol_costs_the_connection_alone(running: Served, case: str) -> None:
    sent, code = FAULTS[case]
    async with connected(running.grpc_port) as peer:
        peer.writer.write(sent)
        assert await peer.farewell() == code
    assert len((await running.stub.Score(GOOD)).scores) == 1


async def test_other_protocols_are_hung_up_on(running: Served) -> None:
    for sent in (b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nXX", b"\x16\x03\x01" + bytes(50)):
        reader, writer = await asyncio.open_connection("127.0.0.1", running.grpc_port)
        writer.write(sent)
        assert b"gRPC over HTTP/2" in await asyncio.wait_for(reader.read(), 60)
        writer.close()


async def test_a_handler_that_does_not_read_holds_its_caller_back() -> None:
    """And a caller who does not hold back loses the stream."""
    gate = Gate()
    async with served(load=gate.load, limits=Limits()) as it, connected(it.grpc_port) as peer:
        peer.send(f.HEADERS, f.END_HEADERS, 1, block(path=STREAM))
        text = "x" * 10_000
        one = pb.ScoreStreamRequest(
            id="1", request=pb.ScoreRequest(items=[pb.ScoreItem(prompt=text, response="r")])
        )
        data = message(one.SerializeToString())
        assert len(data) * 64 < STREAM_WINDOW
        for _ in range(64 + 1 + STREAM_WINDOW // len(data) + 2):
            peer.send(f.DATA, 0, 1, data)
        assert (await peer.answer(1)).reset == Code.FLOW_CONTROL_ERROR
        gate.opened.set()


async def test_answers_wait_for_room_at_the_caller(running: Served) -> None:
    async with connected(running.grpc_port, struct.pack(">HI", f.INITIAL_WINDOW, 10)) as peer:
        peer.call(1)
        data = (await peer.until(f.DATA, 1))[1]
        assert len(data) == 10
        peer.send(f.PING, 0, 0, b"no more!")
        assert (await peer.until(f.PING))[1] == b"no more!"  # and no DATA was between
        peer.send(f.SETTINGS, 0, 0, struct.pack(">HI", f.INITIAL_WINDOW, 20))
        data += (await peer.until(f.DATA, 1))[1]
        assert len(data) == 20
        peer.send(f.WINDOW_UPDATE, 0, 1, f.UINT32.pack(100_000))
        found = await peer.answer(1)
    found.data = data + found.data
    assert (found.status, len(found.reply.scores)) == (0, 1)


async def test_each_call_goes_on_by_its_own_room_and_by_everybodys(running: Served) -> None:
    async with connected(running.grpc_port, struct.pack(">HI", f.INITIAL_WINDOW, 0)) as peer:
        for stream in (1, 3, 5):
            peer.call(stream)
            await peer.until(f.HEADERS, stream)  # its answer has begun, and waits
        peer.send(f.WINDOW_UPDATE, 0, 3, f.UINT32.pack(100_000))
        assert (await peer.answer(3)).status == 0
        peer.send(f.RST_STREAM, 0, 5, f.UINT32.pack(Code.CANCEL))
        peer.send(f.WINDOW_UPDATE, 0, 0, f.UINT32.pack(1))  # nothing for those whose own room is none
        peer.send(f.SETTINGS, 0, 0, struct.pack(">HI", f.INITIAL_WINDOW, 100_000))
        assert (await peer.answer(1)).status == 0


async def test_a_smaller_table_is_acknowledged(running: Served) -> None:
    async with connected(running.grpc_port, struct.pack(">HI", f.HEADER_TABLE_SIZE, 0)) as peer:
        peer.decoder.max_allowed_table_size = 0
        peer.call(1)
        assert (await peer.answer(1)).status == 0


async def test_a_ping_is_echoed_and_unknown_frames_are_ignored(running: Served) -> None:
    async with connected(running.grpc_port) as peer:
        peer.send(99, 255, 7, b"what?")
        peer.send(f.PRIORITY, 0, 3, bytes(5))
        peer.send(f.PING, 0, 0, b"12345678")
        flags, payload = await peer.until(f.PING)
        assert (flags, payload) == (f.ACK, b"12345678")
