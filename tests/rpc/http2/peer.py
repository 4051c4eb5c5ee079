"""A peer that says exactly what a test tells it to, byte by byte."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from hpack import Decoder

from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_service.core.limits import Limits
from guerdon_service.rpc.http2 import frames as f
from guerdon_service.rpc.http2.fields import literal

SCORE = "/guerdon.v1.RewardService/Score"
STREAM = "/guerdon.v1.RewardService/ScoreStream"
HEADERS = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", SCORE),
    (":authority", "x"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
)
GOOD = pb.ScoreRequest(items=[pb.ScoreItem(prompt="p", response="r")])
LIMITS = Limits(max_body_bytes=100_000, max_header_bytes=4000, max_streams=8)
PATIENCE_S = 60.0


def block(**changed: str) -> bytes:
    """A call's headers, some of them changed or added (``path`` is ``:path``, ``_`` is ``-``)."""
    fields = dict(HEADERS)
    for name, value in changed.items():
        key = f":{name}" if f":{name}" in fields else name.replace("_", "-")
        fields[key] = value
    return b"".join(literal(name, value) for name, value in fields.items())


def message(data: bytes = GOOD.SerializeToString(), flag: int = 0) -> bytes:
    """gRPC's prefix and the message."""
    return struct.pack(">BI", flag, len(data)) + data


@dataclass
class Answer:
    """What came on one stream until it ended."""

    headers: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    reset: int | None = None
    """Of a stream that was reset before it ended."""

    @property
    def status(self) -> int:
        """gRPC's, -1 where none came."""
        return int(self.headers.get("grpc-status", "-1"))

    @property
    def code(self) -> str:
        """The service's own, empty where none came."""
        return self.headers.get("guerdon-error-code", "")

    @property
    def reply(self) -> pb.ScoreResponse:
        """Its one message."""
        return pb.ScoreResponse.FromString(self.data[5:])


@dataclass
class Peer:
    """One connection, whose preface and settings are sent already."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    decoder: Decoder = field(default_factory=Decoder)

    def send(self, kind: int, flags: int, stream: int, payload: bytes = b"") -> None:
        """One frame."""
        self.writer.write(f.frame(kind, flags, stream, payload))

    def call(self, stream: int, data: bytes | None = None, **changed: str) -> None:
        """A whole call."""
        self.send(f.HEADERS, f.END_HEADERS, stream, block(**changed))
        self.send(f.DATA, f.END_STREAM, stream, message() if data is None else data)

    async def frame(self) -> tuple[int, int, int, bytes] | None:
        """The next frame: kind, flags, stream and payload; None when the service hung up."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                high, low, kind, flags, stream = f.HEAD.unpack(await self.reader.readexactly(f.HEAD_BYTES))
                return kind, flags, stream, await self.reader.readexactly(high << 8 | low)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def until(self, wanted: int, stream: int | None = None) -> tuple[int, bytes]:
        """Flags and payload of the next frame of a kind, on a stream."""
        while (found := await self.frame()) is not None:
            kind, flags, of, payload = found
            if kind == wanted and stream in (None, of):
                return flags, payload
        raise AssertionError("the service hung up")

    async def answers(self, *streams: int) -> dict[int, Answer]:
        """Everything on these streams, until each has ended."""
        answers = {stream: Answer() for stream in streams}
        open_ones = set(streams)
        while open_ones and (found := await self.frame()) is not None:
            kind, flags, stream, payload = found
            answer = answers.get(stream, Answer())
            if kind == f.HEADERS:
                answer.headers |= dict(self._decoded(payload))
            elif kind == f.DATA:
                answer.data += payload
            elif kind == f.RST_STREAM and stream in open_ones:
                (answer.reset,) = f.UINT32.unpack(payload)
                open_ones.discard(stream)
            if kind in (f.HEADERS, f.DATA) and flags & f.END_STREAM:
                open_ones.discard(stream)
        assert not open_ones, "the service hung up"
        return answers

    async def answer(self, stream: int) -> Answer:
        """Everything on one stream."""
        return (await self.answers(stream))[stream]

    async def farewell(self) -> int:
        """Why the service hung up: the code of its GOAWAY, once the connection has ended too."""
        code = -1
        while (found := await self.frame()) is not None:
            if found[0] == f.GOAWAY:
                code = f.UINT32.unpack_from(found[3], 4)[0]
        return code

    def _decoded(self, payload: bytes) -> Any:
        return self.decoder.decode(payload)


@asynccontextmanager
async def connected(port: int, settings: bytes = b"") -> AsyncIterator[Peer]:
    """A connection that has said who it is."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    peer = Peer(reader, writer)
    writer.write(f.PREFACE)
    peer.send(f.SETTINGS, 0, 0, settings)
    try:
        yield peer
    finally:
        writer.close()
