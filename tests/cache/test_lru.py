"""The byte-bounded LRU against a slow, obvious one."""

import gc
import os
import tracemalloc

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from guerdon_service.cache.lru import LruCache, entry_bytes

MAX_BYTES = 1500
keys = st.integers(0, 11).map(lambda n: bytes([n]) * 32)


class LruAgainstList(RuleBasedStateMachine):
    """The oracle is a list of pairs, least recently used first."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = LruCache(MAX_BYTES)
        self.oracle: list[tuple[bytes, bytes]] = []

    @rule(key=keys, payload=st.binary(max_size=2000) | st.binary(max_size=16))
    def put(self, key: bytes, payload: bytes) -> None:
        self.cache.put(key, payload)
        self.oracle = [e for e in self.oracle if e[0] != key]
        if entry_bytes(key, payload) <= MAX_BYTES:
            self.oracle.append((key, payload))
        while sum(entry_bytes(*e) for e in self.oracle) > MAX_BYTES:
            self.oracle.pop(0)

    @rule(key=keys)
    def get(self, key: bytes) -> None:
        found = [e for e in self.oracle if e[0] == key]
        assert self.cache.get(key) == (found[0][1] if found else None)
        self.oracle = [e for e in self.oracle if e[0] != key] + found

    @invariant()
    def bytes_are_counted_and_bounded(self) -> None:
        assert len(self.cache) == len(self.oracle)
        assert self.cache.num_bytes == sum(entry_bytes(*e) for e in self.oracle) <= MAX_BYTES


TestLru = LruAgainstList.TestCase


def test_the_bound_holds_for_memory_that_is_really_taken() -> None:
    max_bytes = 2_000_000
    cache = LruCache(max_bytes)
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(20_000):
            cache.put(os.urandom(32), os.urandom(8))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(cache) > 1000
    assert max_bytes / 2 < after - before <= max_bytes


def test_no_room_keeps_nothing() -> None:
    cache = LruCache(0)
    cache.put(b"k", b"v")
    assert cache.get(b"k") is None
    assert len(cache) == 0
