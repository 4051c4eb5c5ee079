"""gRPC's messages in a stream of bytes: a flag, a length, the message."""

import struct
import zlib
from collections import deque
from collections.abc import Callable

import grpc

from guerdon_service.core.errors import GuerdonError, PayloadTooLarge
from guerdon_service.rpc.http2.head import Head, Metadata

PREFIX = struct.Struct(">BI")
ENCODINGS = {"identity": 0, "deflate": zlib.MAX_WBITS, "gzip": zlib.MAX_WBITS | 16}
"""How messages may be compressed, and what zlib calls it."""


class Refused(Exception):
    """A call ends with this status, and this trailing metadata."""

    def __init__(self, status: grpc.StatusCode, details: str, metadata: Metadata = ()) -> None:
        super().__init__(details)
        self.status, self.details, self.metadata = status, details, metadata


Tell = Callable[[Head, GuerdonError], Refused]
"""How the caller of a head is told of an error."""


class MessageReader:
    """Collects one stream's bytes; no message over `max_bytes`, inflated or not, is ever held.

    Messages wait as they came and are inflated as they are taken: a megabyte of them may hold a gigabyte.
    """

    def __init__(self, max_bytes: int, encoding: str) -> None:
        self._max_bytes, self._wbits = max_bytes, ENCODINGS.get(encoding, 0)
        self._rest = bytearray()
        self._waiting: deque[tuple[int, bytes]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def num_unfinished(self) -> int:
        """Bytes of a message that has begun and not ended."""
        return len(self._rest)

    @property
    def is_within_message(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self._rest)

    def take(self) -> bytes:
        """The oldest message that waits.

        Raises:
            Refused: it cannot be inflated.
            PayloadTooLarge: it is, then.
        """
        flag, message = self._waiting.popleft()
        return self._inflated(message) if flag else message

    def feed(self, data: bytes) -> None:
        """Take what came, and keep the messages that are whole now.

        Raises:
            PayloadTooLarge: a message is.
            Refused: it is compressed in a way that is not read here.
        """
        rest = self._rest
        if not rest and len(data) >= PREFIX.size:
            flag, size = PREFIX.unpack_from(data)
            if flag == 0 and size == len(data) - PREFIX.size and size <= self._max_bytes:
                self._waiting.append((0, data[PREFIX.size :]))  # all of one, as most calls send it
                return
        rest += data
        while len(rest) >= PREFIX.size:
            flag, size = PREFIX.unpack_from(rest)
            if size > self._max_bytes:
                raise self._too_large(size)
            if len(rest) < PREFIX.size + size:
                return
            if flag and (flag != 1 or not self._wbits):
                raise Refused(
                    grpc.StatusCode.UNIMPLEMENTED, f"messages may be compressed by {', '.join(ENCODINGS)}"
                )
            self._waiting.append((flag, bytes(rest[PREFIX.size : PREFIX.size + size])))
            del rest[: PREFIX.size + size]

    def _inflated(self, message: bytes) -> bytes:
        inflate = zlib.decompressobj(self._wbits)
        try:
            whole = inflate.decompress(message, self._max_bytes + 1)
        except zlib.error:
            raise Refused(grpc.StatusCode.INTERNAL, "a message cannot be decompressed") from None
        if len(whole) > self._max_bytes:
            raise self._too_large(len(whole))
        if not inflate.eof:
            raise Refused(grpc.StatusCode.INTERNAL, "a compressed message is cut short")
        return whole

    def _too_large(self, num_bytes: int) -> PayloadTooLarge:
        """In the words that gRPC's own clients look for."""
        return PayloadTooLarge(
            f"a message of {num_bytes} bytes is larger than max ({self._max_bytes}); "
            "send fewer items per request",
            param="message",
        )
