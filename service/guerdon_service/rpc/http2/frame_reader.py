"""One connection's bytes as frames, with their framing checked and header blocks whole."""

from collections.abc import Iterator

from guerdon_service.rpc.http2 import frames as f
from guerdon_service.rpc.http2.calm import Calm
from guerdon_service.rpc.http2.frames import Code, ConnectionFault

MAX_FRAME_BYTES = 64 * 1024
"""Of one frame that comes in."""

Frame = tuple[int, int, int, bytes, int]
"""Kind, flags, stream, payload without padding and priority, and the payload's bytes with them."""


class FrameReader:
    """Keeps what is not whole yet: part of one frame, and parts of one header block.

    Args:
        max_block_bytes: of a header block, encoded.
        calm: pays for frames that ask for nothing.
    """

    def __init__(self, max_block_bytes: int, calm: Calm) -> None:
        self._max_block_bytes, self._calm = max_block_bytes, calm
        self._rest = b""
        self._has_preface = self._has_settings = False
        self._block: tuple[int, int, bytearray] | None = None
        """Stream, flags and bytes of a header block whose end has not come."""
        self._num_whole = 0

    @property
    def part(self) -> int | None:
        """The number of the frame, or header block, that has begun and is not whole; None: there is none."""
        return self._num_whole if self._rest or self._block is not None else None

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take what came; the frames that are whole now.

        Raises:
            ConnectionFault: nothing more can be read of this peer.
        """
        if self._rest:
            data = self._rest + data
        at, size = 0, len(data)
        if not self._has_preface:
            at = self._preface(data)
        while self._has_preface and size - at >= f.HEAD_BYTES:
            high, low, kind, flags, stream = f.HEAD.unpack_from(data, at)
            begin = at + f.HEAD_BYTES
            end = begin + (high << 8 | low)
            if end - begin > MAX_FRAME_BYTES:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, f"a frame is over {MAX_FRAME_BYTES} bytes")
            if end > size:
                break
            found = self._frame(kind, flags, stream & f.MAX_WINDOW, data[begin:end])
            self._num_whole += self._block is None
            if found is not None:
                yield found
            at = end
        self._rest = data[at:] if at < size else b""

    def _preface(self, data: bytes) -> int:
        """Bytes of it that were read: all or none."""
        if not f.PREFACE.startswith(data[: len(f.PREFACE)]):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "this port speaks gRPC over HTTP/2 and nothing else")
        self._has_preface = len(data) >= len(f.PREFACE)
        return len(f.PREFACE) if self._has_preface else 0

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> Frame | None:
        if not self._has_settings:
            if kind != f.SETTINGS or flags & f.ACK:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "the first frame is not SETTINGS")
            self._has_settings = True
        if self._block is not None and kind != f.CONTINUATION:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a header block is interrupted")
        num_bytes = len(payload)
        if kind == f.DATA:
            return kind, flags, stream, f.unpadded(payload, flags), num_bytes
        if kind == f.HEADERS:
            return self._headers(flags, stream, payload)
        self._calm.spend()
        if kind == f.CONTINUATION:
            return self._continuation(flags, stream, payload)
        return kind, flags, stream, payload, num_bytes

    def _headers(self, flags: int, stream: int, payload: bytes) -> Frame | None:
        if not stream & 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "HEADERS on a stream that is not a client's")
        block = f.unpadded(payload, flags)
        if flags & f.HAS_PRIORITY:
            if len(block) < f.PRIORITY_BYTES:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "HEADERS is too short for its priority")
            block = block[f.PRIORITY_BYTES :]
        if flags & f.END_HEADERS:
            return f.HEADERS, flags, stream, block, len(payload)
        self._block = stream, flags, bytearray(block)
        return None

    def _continuation(self, flags: int, stream: int, payload: bytes) -> Frame | None:
        if self._block is None or self._block[0] != stream:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "CONTINUATION of no header block")
        _, first, block = self._block
        block += payload
        if len(block) > self._max_block_bytes:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "a header block is too long")
        if not flags & f.END_HEADERS:
            return None
        self._block = None
        return f.HEADERS, first, stream, bytes(block), len(block)
