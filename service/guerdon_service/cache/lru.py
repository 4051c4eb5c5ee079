"""The least recently used entries leave first, bounded by bytes."""

from collections import OrderedDict
from sys import getsizeof

ENTRY_BYTES = 160
"""What one entry costs besides its key and payload objects: up to 134 bytes of the ordered dict's hash
table and linked list (tracemalloc, CPython 3.11, the table at its emptiest), and the allocator's rounding
of the two objects to 16 bytes."""


class LruCache:
    """Bytes by key, O(1) each way. For one thread: the event loop's.

    Args:
        max_bytes: bound on keys, payloads and bookkeeping together, in bytes; 0 keeps nothing.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[bytes, bytes] = OrderedDict()
        self._num_bytes = 0

    @property
    def num_bytes(self) -> int:
        """Bytes held now."""
        return self._num_bytes

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> bytes | None:
        """The payload, now the most recently used one; None when unknown."""
        payload = self._entries.get(key)
        if payload is not None:
            self._entries.move_to_end(key)
        return payload

    def put(self, key: bytes, payload: bytes) -> None:
        """Keep it, dropping the least recently used entries for room; one over the bound is not kept."""
        self._drop(key)
        size = entry_bytes(key, payload)
        if size > self._max_bytes:
            return
        self._entries[key] = payload
        self._num_bytes += size
        while self._num_bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: bytes) -> None:
        payload = self._entries.pop(key, None)
        if payload is not None:
            self._num_bytes -= entry_bytes(key, payload)


def entry_bytes(key: bytes, payload: bytes) -> int:
    """Memory that one entry takes, in bytes."""
    return getsizeof(key) + getsizeof(payload) + ENTRY_BYTES
