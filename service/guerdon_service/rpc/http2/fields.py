"""Header blocks that the service sends: nearly constant, so that they need no table and no Huffman code."""

import base64
from collections.abc import Iterable
from urllib.parse import quote_from_bytes

from guerdon_service.core.call import wire_text
from guerdon_service.rpc.http2.head import Metadata

_PRINTABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


def literal(name: str, value: str | bytes) -> bytes:
    """One field, without indexing (RFC 7541, section 6.2.2); bytes under ``-bin`` names become base64."""
    raw = (
        base64.b64encode(value).rstrip(b"=") if isinstance(value, bytes) else value.encode("utf-8", "replace")
    )
    key = name.encode()
    return b"\x00" + _length(len(key)) + key + _length(len(raw)) + raw


def _length(number: int) -> bytes:
    """An integer with a prefix of 7 bits (RFC 7541, section 5.1)."""
    if number < 127:
        return bytes((number,))
    out, number = bytearray((127,)), number - 127
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


STATUS_200 = b"\x88"
"""``:status: 200``, from the static table."""
EMPTY_TABLE = b"\x20"
"""The table of what we send shrinks to nothing: owed after the peer's settings change its size."""
BEGINNING = STATUS_200 + literal("content-type", "application/grpc")
"""What every answer of gRPC begins with."""
_OK = literal("grpc-status", "0")


def trailers(status: int, message: str, metadata: Metadata = ()) -> bytes:
    """The block that ends an answer: gRPC's status, its message percent-encoded, and the call's metadata.

    A message that quotes at length what a caller sent is shortened: the block must fit one frame.
    """
    if status == 0 and not message:
        head = _OK
    else:
        text = quote_from_bytes(wire_text(message).encode(), safe=_PRINTABLE)
        head = literal("grpc-status", str(status)) + literal("grpc-message", text)
    return head + b"".join([literal(name, value) for name, value in metadata])


def http_only(status: int) -> bytes:
    """The block that answers what is no gRPC call."""
    return literal(":status", str(status))


def joined(parts: Iterable[bytes]) -> bytes:
    """One block of several."""
    return b"".join(parts)
