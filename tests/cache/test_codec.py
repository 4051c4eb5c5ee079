"""A value is believed only when it is this key's, whole and finite."""

import struct
from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon_service.cache.codec import pack, seal, unpack, unseal

keys = st.binary(min_size=32, max_size=32)
finite = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=8)


@given(keys, finite)
def test_round_trip_is_bit_for_bit(key: bytes, values: list[float]) -> None:
    scores = np.array(values, np.float32)
    payload = pack(scores)
    assert payload is not None
    opened = unseal(key, seal(key, payload), len(values))
    assert opened == payload
    back = unpack(opened)
    assert back.dtype == np.float32
    assert back.tobytes() == scores.tobytes()
    assert not back.flags.writeable


@given(keys, finite, st.data())
def test_any_changed_or_missing_byte_is_noticed(key: bytes, values: list[float], data: st.DataObject) -> None:
    payload = pack(np.array(values, np.float32))
    assert payload is not None
    value = seal(key, payload)
    at = data.draw(st.integers(0, len(value) - 1))
    flipped = bytes([value[at] ^ data.draw(st.integers(1, 255))])
    assert unseal(key, value[:at] + flipped + value[at + 1 :], len(values)) is None
    assert unseal(key, value[:at], len(values)) is None
    assert unseal(key, value + b"\0", len(values)) is None


@given(keys, keys, finite)
def test_another_keys_value_is_refused(key: bytes, other: bytes, values: list[float]) -> None:
    payload = pack(np.array(values, np.float32))
    assert payload is not None
    assert (unseal(other, seal(key, payload), len(values)) is None) == (other != key)


@given(keys, st.one_of(st.binary(max_size=80), st.text(), st.none(), st.integers()), st.integers(1, 4))
def test_garbage_is_refused(key: bytes, value: object, num_heads: int) -> None:
    assert unseal(key, value, num_heads) is None


@given(keys, finite, st.integers(1, 9))
def test_head_count_must_match(key: bytes, values: list[float], num_heads: int) -> None:
    payload = pack(np.array(values, np.float32))
    assert payload is not None
    assert (unseal(key, seal(key, payload), num_heads) is None) == (num_heads != len(values))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite_is_neither_packed_nor_believed(bad: float) -> None:
    scores = np.array([1.0, bad], np.float32)
    assert pack(scores) is None
    key = b"k" * 32
    assert unseal(key, seal(key, scores.tobytes()), 2) is None


def test_layout_is_as_documented() -> None:
    """An oracle written from the module's description, so that replicas of other builds agree."""
    key = bytes(range(32))
    body = struct.pack("<BHff", 1, 2, 0.5, -3.0)
    check = blake2b((32).to_bytes(8, "little") + key + body, digest_size=16).digest()
    payload = pack(np.array([0.5, -3.0], np.float32))
    assert payload is not None
    assert seal(key, payload) == body + check
