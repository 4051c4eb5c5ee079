"""What the header block that begins a call says."""

import binascii
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hpack import Decoder
from hpack.exceptions import HPACKError, OversizedHeaderListError

from guerdon_service.rpc.http2.calm import Calm
from guerdon_service.rpc.http2.frames import Code, ConnectionFault, StreamFault

_DECODERS_LOG = logging.getLogger("hpack")

Metadata = tuple[tuple[str, str | bytes], ...]

MAX_KNOWN = 64
"""Header blocks that one connection keeps with what they said."""
MAX_KNOWN_BYTES = 4096
"""Of what each said."""
FREE_FIELDS = 100
"""Of one block: more than callers send. A byte may stand for a field, and each beyond counts as a frame that
asks for nothing, which takes as long.
"""
FREE_BYTES = 8 * 1024
"""Of one block, decoded; each KiB beyond counts likewise."""
_UNIT_S = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_TIMEOUT = re.compile(r"(\d{1,8})([HMSmun])")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_VALUE = re.compile(rb"[^\x00\r\n]*")
_OF_CONNECTIONS = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
_OF_HTTP = frozenset(("te", "content-type", "grpc-timeout", "grpc-encoding", "content-length"))

Fields = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Head:
    """One call's beginning.

    http_status: 200, or why it is no gRPC call.
    num_bytes: of all names and values, as HPACK counts them.
    timeout_s: as the caller gave it; None: none. NaN where it cannot be read.
    encoding: how its messages may be compressed.
    is_in_budget: whether the connection sent no more of such length than it may.
    """

    http_status: int
    num_bytes: int
    path: str
    metadata: Metadata
    timeout_s: float | None
    encoding: str
    is_in_budget: bool = True


class HeadReader:
    """Header blocks of one connection, in their order: HPACK (RFC 7541) has memory.

    A block of nothing but references into a table that has not changed since says what it said before, and is
    not decoded again: most calls of one caller begin alike.

    Args:
        max_bytes: of one block, decoded.
        calm: pays for blocks that take long to decode, and for those that nobody needs; each call earns some.
    """

    def __init__(self, max_bytes: int, calm: Calm) -> None:
        self._decoder, self._calm = Decoder(max_bytes), calm
        _DECODERS_LOG.setLevel(logging.WARNING)  # it tells each header, keys too, of who debugs
        self._known: dict[bytes, Head] = {}

    def read(self, block: bytes) -> Head:
        """What it says.

        Raises:
            ConnectionFault: it cannot be decoded, or says more than may be said: the table is lost. Or many
                were long.
            StreamFault: it is no request of HTTP/2.
        """
        known = self._known.get(block)
        if known is not None:
            return known
        is_reference = bool(block) and min(block) >= 0x80
        if not is_reference:
            self._known.clear()
        self._calm.earn()
        head = _head(*self._decoded(block))
        is_short = head.is_in_budget and head.num_bytes <= MAX_KNOWN_BYTES
        if is_reference and is_short and len(self._known) < MAX_KNOWN:
            self._known[block] = head
        return head

    def skip(self, block: bytes) -> None:
        """Read what nobody needs, for the table's sake; raises `ConnectionFault` as `read` does."""
        self._calm.spend()
        self._known.clear()
        self._decoded(block)

    def _decoded(self, block: bytes) -> tuple[Fields, int, bool]:
        """Names and values, their bytes as HPACK counts them, and whether they are in budget."""
        try:
            found: Iterable[tuple[bytes, bytes]] = self._decoder.decode(block, raw=True)
        except OversizedHeaderListError:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "headers are too long") from None
        except (HPACKError, IndexError) as error:
            raise ConnectionFault(
                Code.COMPRESSION_ERROR, f"headers cannot be decoded: {error}"[:200]
            ) from None
        fields = [(bytes(name), bytes(value)) for name, value in found]
        num_bytes = sum(len(name) + len(value) + 32 for name, value in fields)
        price = max(0, len(fields) - FREE_FIELDS) + max(0, num_bytes - FREE_BYTES) // 1024
        return fields, num_bytes, not price or self._calm.spend(price)


def _head(fields: Fields, num_bytes: int, is_in_budget: bool) -> Head:
    pseudo: dict[bytes, bytes] = {}
    plain: list[tuple[bytes, bytes]] = []
    for name, value in fields:
        if not _VALUE.fullmatch(value):
            raise StreamFault(Code.PROTOCOL_ERROR)
        if name[:1] == b":":
            if plain or name in pseudo:
                raise StreamFault(Code.PROTOCOL_ERROR)
            pseudo[name] = value
        elif not _NAME.fullmatch(name) or name in _OF_CONNECTIONS:
            raise StreamFault(Code.PROTOCOL_ERROR)
        else:
            plain.append((name, value))
    if not {b":method", b":scheme", b":path"} <= pseudo.keys() <= _PSEUDO:
        raise StreamFault(Code.PROTOCOL_ERROR)
    given = {name.decode(): _text(value) for name, value in plain}
    content_type = given.get("content-type", "")
    is_grpc = content_type == "application/grpc" or content_type.startswith(
        ("application/grpc+", "application/grpc;")
    )
    return Head(
        405 if pseudo[b":method"] != b"POST" else 200 if is_grpc else 415,
        num_bytes,
        _text(pseudo[b":path"]),
        tuple(_metadata(plain)),
        _timeout_s(given.get("grpc-timeout")),
        given.get("grpc-encoding", "identity"),
        is_in_budget,
    )


_PSEUDO = frozenset((b":method", b":scheme", b":path", b":authority"))


def _metadata(fields: Fields) -> Iterable[tuple[str, str | bytes]]:
    for raw, value in fields:
        name = raw.decode()
        if name in _OF_HTTP:
            continue
        if not name.endswith("-bin"):
            yield name, _text(value)
            continue
        for part in value.split(b","):
            try:
                yield name, binascii.a2b_base64(part + b"=" * (-len(part) % 4))
            except binascii.Error:
                raise StreamFault(Code.PROTOCOL_ERROR) from None


def _text(value: bytes) -> str:
    """Any bytes as text, and the same bytes back."""
    return value.decode("utf-8", "surrogateescape")


def _timeout_s(text: str | None) -> float | None:
    if text is None:
        return None
    match = _TIMEOUT.fullmatch(text)
    return float("nan") if match is None else int(match[1]) * _UNIT_S[match[2]]
