"""Byte streams for a listening port: nearly HTTP/1.1 and nearly HTTP/2 with gRPC in it."""

import asyncio
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from guerdon_protos.v1 import guerdon_pb2 as pb

HANG_S = 60.0
"""A port that neither answers nor hangs up by then, though nothing more comes, hangs."""
_BODY = b'{"items": [{"prompt": "p", "response": "r"}]}'
_HEAD = b"POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """An HTTP/2 frame (RFC 9113, section 4.1)."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _literal(name: bytes, value: bytes) -> bytes:
    """A header field that no table holds (RFC 7541, section 6.2.2)."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, b"")
CALL_HEADERS = b"".join(
    _literal(name, value)
    for name, value in (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/guerdon.v1.RewardService/Score"),
        (b":authority", b"x"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    )
)
_MESSAGE = pb.ScoreRequest(items=[pb.ScoreItem(prompt="p", response="r")]).SerializeToString()
_DATA = b"\x00" + struct.pack(">I", len(_MESSAGE)) + _MESSAGE

HTTP1 = (
    _HEAD + b"content-length: %d\r\n\r\n" % len(_BODY) + _BODY,
    _HEAD + b"transfer-encoding: chunked\r\n\r\n%x\r\n" % len(_BODY) + _BODY + b"\r\n0\r\n\r\n",
    b"GET /v1/models/a%2e%2e/versions?x=%00 HTTP/1.1\r\nhost: x\r\n\r\n" * 2,
    b"DELETE /v1/models/none HTTP/1.0\r\n\r\n",
)
HTTP2 = (
    _PREFACE + _frame(1, 4, 1, CALL_HEADERS) + _frame(0, 1, 1, _DATA),
    _PREFACE + _frame(1, 0, 1, CALL_HEADERS[:9]) + _frame(9, 4, 1, CALL_HEADERS[9:]) + _frame(0, 1, 1, _DATA),
    _PREFACE
    + b"".join(_frame(1, 5, n, CALL_HEADERS) + _frame(3, 0, n, b"\0\0\0\x08") for n in range(1, 40, 2)),
    _PREFACE
    + _frame(6, 0, 0, b"pingping") * 5
    + _frame(8, 0, 0, b"\x7f\xff\xff\xff")
    + _frame(7, 0, 0, bytes(8)),
    _PREFACE + _frame(4, 0, 0, b"\x00\x04\xff\xff\xff\xff") + _frame(2, 0, 1, bytes(5)),
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a port did with a number of streams."""

    num_streams: int
    num_answered: int
    num_5xx: int


async def throw(port: int, streams: Iterable[bytes], width: int = 8) -> Seen:
    """Send each stream over a connection of its own, close our half, and read to the end.

    Raises:
        TimeoutError: the port hung.
    """
    replies: list[bytes] = []
    room = asyncio.Semaphore(width)

    async def one(data: bytes) -> None:
        async with room:
            replies.append(await _exchange(port, data))

    async with asyncio.TaskGroup() as group:
        for data in streams:
            async with room:
                pass  # no more tasks than there is work
            group.create_task(one(data))
    return Seen(len(replies), sum(map(bool, replies)), sum(b"HTTP/1.1 5" in reply for reply in replies))


async def _exchange(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(HANG_S):
            try:
                writer.write(data)
                await writer.drain()
                writer.write_eof()
                return await reader.read()
            except (ConnectionError, OSError):  # hung up on us, which is an answer
                return b""
    finally:
        writer.close()
