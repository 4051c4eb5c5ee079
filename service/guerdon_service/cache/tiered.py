"""The cache that the service uses: this process first, then what replicas share."""

from collections.abc import Mapping, Sequence
from typing import Any

from guerdon_service.cache.breaker import Breaker
from guerdon_service.cache.codec import pack, unpack
from guerdon_service.cache.lru import LruCache
from guerdon_service.cache.redis_cache import RedisCache
from guerdon_service.core.ports import Observer, RawScores

L1_BYTES = 64 * 1024 * 1024
"""Default bound of the in-process layer: about 250,000 scores of one head."""


class TieredCache:
    """`core.ports.Cache`: an LRU in front of Redis, or alone. For one thread: the event loop's."""

    def __init__(self, l1: LruCache, redis: RedisCache | None, observer: Observer) -> None:
        self._l1 = l1
        self._redis = redis
        self._observer = observer

    def at_hand(self, keys: Sequence[bytes], num_heads: int) -> list[RawScores] | None:
        """As `get_many` where this process has every key; else None, and nothing is counted."""
        size, payloads = 4 * num_heads, []
        for key in keys:
            payload = self._l1.get(key)
            if payload is None or len(payload) != size:
                return None
            payloads.append(payload)
        self._count("hit", len(keys))
        return [unpack(payload) for payload in payloads]

    async def get_many(self, keys: Sequence[bytes], num_heads: int) -> list[RawScores | None]:
        """Read-only float32 [num_heads] per key; None where unknown, unreadable or not that long."""
        size = 4 * num_heads
        payloads = [self._l1.get(key) for key in keys]
        missing = [i for i, p in enumerate(payloads) if p is None or len(p) != size]
        self._count("hit", len(keys) - len(missing))
        self._count("miss", len(missing))
        if missing:
            fetched = await self._fetch([keys[i] for i in missing], num_heads)
            for i, payload in zip(missing, fetched, strict=True):
                payloads[i] = payload
        return [None if p is None else unpack(p) for p in payloads]

    def put_many(self, items: Sequence[tuple[bytes, RawScores]]) -> None:
        """Keep here at once, queue for Redis; NaN and infinity are skipped."""
        packed = [(key, payload) for key, scores in items if (payload := pack(scores)) is not None]
        for key, payload in packed:
            self._l1.put(key, payload)
        self._count("stored", len(packed))
        self._count("skipped", len(items) - len(packed))
        if self._redis is not None:
            self._redis.put_many(packed)

    def state(self) -> Mapping[str, Any]:
        """How full it is, and whether Redis is away (None: there is none)."""
        return {
            "entries": len(self._l1),
            "bytes": self._l1.num_bytes,
            "redis": None if self._redis is None else self._redis.state(),
        }

    async def close(self) -> None:
        """Flush to Redis what can be flushed within a second, then let go."""
        if self._redis is not None:
            await self._redis.close()

    async def _fetch(self, keys: Sequence[bytes], num_heads: int) -> Sequence[bytes | None]:
        if self._redis is None:
            return [None] * len(keys)
        payloads = await self._redis.get_many(keys, num_heads)
        for key, payload in zip(keys, payloads, strict=True):
            if payload is not None:
                self._l1.put(key, payload)
        return payloads

    def _count(self, outcome: str, count: int) -> None:
        if count:
            self._observer.cache("l1", outcome, count)


def open_cache(
    observer: Observer, *, redis_url: str | None = None, l1_bytes: int = L1_BYTES, timeout_s: float = 0.02
) -> TieredCache:
    """The service's cache; without `redis_url` it is this process's alone.

    Args:
        l1_bytes: bound of the in-process layer, in bytes.
        timeout_s: deadline of one Redis round trip, in seconds.

    Raises:
        InvalidInput: `redis_url` is malformed. A Redis that does not answer is no error.
    """
    redis = None if redis_url is None else RedisCache(redis_url, observer, Breaker(), timeout_s=timeout_s)
    return TieredCache(LruCache(l1_bytes), redis, observer)
