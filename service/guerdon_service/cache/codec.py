"""How a raw score is laid out in a cache, and the check that every shared value carries.

In the process a score is its payload: float32 little-endian, 4 bytes a head. In Redis it is sealed:

    version u8 | num_heads u16 LE | payload | check 16 bytes

The check is BLAKE2b over the key, the header and the payload, so a truncated, garbled or misplaced
value, that of another key included, is recognised and not believed.
"""

import hashlib
import hmac
import struct

import numpy as np

from guerdon_service.core.ports import RawScores

VERSION = 1
_HEADER = struct.Struct("<BH")
_CHECK_BYTES = 16


def pack(scores: RawScores) -> bytes | None:
    """Payload of float32 [num_heads]; None when a score is NaN or infinite, which is never stored."""
    if not np.isfinite(scores).all():
        return None
    return scores.astype("<f4").tobytes()


def unpack(payload: bytes) -> RawScores:
    """Read-only float32 [num_heads], bit for bit what was packed."""
    return np.frombuffer(payload, "<f4").astype(np.float32, copy=False)


def seal(key: bytes, payload: bytes) -> bytes:
    """The value to store under `key` where others can write too."""
    body = _HEADER.pack(VERSION, len(payload) // 4) + payload
    return body + _check(key, body)


def unseal(key: bytes, value: object, num_heads: int) -> bytes | None:
    """Payload of a sealed value; None unless it is this key's, intact, finite and `num_heads` long."""
    header = _HEADER.pack(VERSION, num_heads)
    size = len(header) + 4 * num_heads
    if not isinstance(value, bytes) or len(value) != size + _CHECK_BYTES or not value.startswith(header):
        return None
    body = value[:size]
    if not hmac.compare_digest(_check(key, body), value[size:]):
        return None
    payload = body[len(header) :]
    return payload if np.isfinite(unpack(payload)).all() else None


def _check(key: bytes, body: bytes) -> bytes:
    length = len(key).to_bytes(8, "little")
    return hashlib.blake2b(length + key + body, digest_size=_CHECK_BYTES).digest()
