"""gRPC's messages in a stream of bytes: a flag, a length, the message."""

import struct
import zlib
from collections.abc import Callable

import grpc

from guerdon_service.core.errors import GuerdonError, PayloadTooLarge
from guerdon_service.rpc.http2.head import Head, Metadata

PREFIX = struct.Struct(">BI")
ENCODINGS = {"identity": 0, "deflate": zlib.MAX_WBITS, "gzip": zlib.MAX_WBITS | 16}
"""How messages may be compressed, and what zlib calls it."""
MAX_GROWTH = 300
"""Times that a compressed message may grow: short answers to one long prompt do so 130 times, zeros 1,000."""
FREE_BYTES = 64 * 1024
"""That it may grow to besides, however short it is."""


class Refused(Exception):
    """A call ends with this status, and this trailing metadata."""

    def __init__(self, status: grpc.StatusCode, details: str, metadata: Metadata = ()) -> None:
        super().__init__(details)
        self.status, self.details, self.metadata = status, details, metadata


Tell = Callable[[Head, GuerdonError], Refused]
"""How the caller of a head is told of an error."""


class MessageReader:
    """Collects one stream's bytes; no message over `max_bytes`, inflated or not, is ever held, and none that
    grows out of proportion to what was sent for it.

    Messages wait as the bytes that came, and are told apart and inflated as they are taken: as objects, a
    megabyte of empty ones would take twenty, and one of compressed ones may take a gigabyte.
    """

    def __init__(self, max_bytes: int, encoding: str) -> None:
        self._max_bytes, self._wbits = max_bytes, ENCODINGS.get(encoding, 0)
        self._data = bytearray()
        self._num_waiting = 0
        self.num_unread = 0
        """Bytes of the messages that wait, with their prefixes."""

    def __len__(self) -> int:
        return self._num_waiting

    @property
    def num_unfinished(self) -> int:
        """Bytes of a message that has begun and not ended."""
        return len(self._data) - self.num_unread

    @property
    def is_within_message(self) -> bool:
        """Whether a message has begun and not ended."""
        return len(self._data) > self.num_unread

    def take(self) -> bytes:
        """The oldest message that waits.

        Raises:
            Refused: it cannot be inflated.
            PayloadTooLarge: it is, then, or grows by more than `MAX_GROWTH`.
        """
        flag, size = PREFIX.unpack_from(self._data)
        end = PREFIX.size + size
        message = bytes(memoryview(self._data)[PREFIX.size : end])
        del self._data[:end]
        self._num_waiting -= 1
        self.num_unread -= end
        return self._inflated(message) if flag else message

    def feed(self, data: bytes) -> None:
        """Take what came, and count the messages that are whole now.

        Raises:
            PayloadTooLarge: a message is.
            Refused: it is compressed in a way that is not read here.
        """
        self._data += data
        while self.num_unfinished >= PREFIX.size:
            flag, size = PREFIX.unpack_from(self._data, self.num_unread)
            if size > self._max_bytes:
                raise self._too_large(size)
            if self.num_unfinished < PREFIX.size + size:
                return
            if flag and (flag != 1 or not self._wbits):
                raise Refused(
                    grpc.StatusCode.UNIMPLEMENTED, f"messages may be compressed by {', '.join(ENCODINGS)}"
                )
            self._num_waiting += 1
            self.num_unread += PREFIX.size + size

    def _inflated(self, message: bytes) -> bytes:
        inflate = zlib.decompressobj(self._wbits)
        most = min(self._max_bytes, FREE_BYTES + MAX_GROWTH * len(message))
        try:
            whole = inflate.decompress(message, most + 1)
        except zlib.error:
            raise Refused(grpc.StatusCode.INTERNAL, "a message cannot be decompressed") from None
        if len(whole) > self._max_bytes:
            raise self._too_large(len(whole))
        if len(whole) > most:
            raise PayloadTooLarge(
                f"a message of {len(message)} bytes grows to more than {most}; send it uncompressed",
                param="message",
            )
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
