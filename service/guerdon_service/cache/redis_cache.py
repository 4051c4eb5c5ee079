"""Raw scores shared between replicas, in Redis."""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from guerdon_service.cache.breaker import Breaker
from guerdon_service.cache.codec import seal, unseal
from guerdon_service.cache.grouped_reads import GroupedReads
from guerdon_service.cache.in_time import in_time
from guerdon_service.cache.redis_client import LIBRARY_PATIENCE, redis_client
from guerdon_service.core.ports import Observer

KEY_PREFIX = b"guerdon:1:"
"""Before the 32 raw bytes of a fingerprint; the number is the key layout's version."""
TTL_S = 7 * 24 * 3600
"""Scores never go stale; they expire only so that memory is freed."""
MAX_KEYS = 128
"""Keys a round trip reads or writes: keeps its work on the event loop near two milliseconds."""
CLOSE_TIMEOUT_S = 1.0
WRITE_PATIENCE = LIBRARY_PATIENCE
"""A write may take this many times a read's deadline: nobody waits for it."""

_logger = logging.getLogger(__name__)


class RedisCache:
    """Payloads by fingerprint. Never raises once made, never waits long, never retries.

    One read is under way at a time; what is asked meanwhile goes together in the next one.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        observer: told of ``redis`` hits, misses, errors, and of writes stored or skipped.
        breaker: holds calls back while Redis is away; reads are then misses and writes are skipped.
        timeout_s: deadline of one reading round trip in seconds, connecting included; raise it for TLS
            or a far Redis.
        max_queued: entries that may wait to be written; more are skipped.
        max_connections: bound of the pool; a caller waits for one within its deadline.

    Raises:
        InvalidInput: `url` is malformed.
    """

    def __init__(
        self,
        url: str,
        observer: Observer,
        breaker: Breaker,
        *,
        timeout_s: float = 0.02,
        max_queued: int = 10_000,
        max_connections: int = 16,
    ) -> None:
        self._client = redis_client(url, timeout_s, max_connections)
        self._observer = observer
        self._breaker = breaker
        self._timeout_s = timeout_s
        self._max_queued = max_queued
        self._queue: deque[tuple[bytes, bytes]] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._reads = GroupedReads(self._mget, MAX_KEYS)
        self._closed = False

    async def get_many(self, keys: Sequence[bytes], num_heads: int) -> list[bytes | None]:
        """One payload per key, `MAX_KEYS` a round trip; the first failed trip makes the rest misses."""
        found: list[bytes | None] = []
        for start in range(0, len(keys), MAX_KEYS):
            chunk = keys[start : start + MAX_KEYS]
            values = await self._read(chunk)
            if values is None:
                self._count("miss", len(keys) - start - len(chunk))
                break
            found += self._open(chunk, values, num_heads)
        missed = len(keys) - len(found)
        return found + [None] * missed

    def put_many(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Queue key and payload for the background writer. Call from the event loop's thread."""
        room = 0 if self._closed else self._max_queued - len(self._queue)
        self._queue.extend(items[:room])
        self._count("skipped", len(items[room:]))
        if self._queue and (self._writer is None or self._writer.done()):
            self._writer = asyncio.get_running_loop().create_task(self._drain())

    def state(self) -> Mapping[str, Any]:
        """Whether the breaker holds calls back, and how many entries wait to be written."""
        return {"away": self._breaker.is_open, "queued_writes": len(self._queue)}

    async def close(self) -> None:
        """Write what can be written within a second, then disconnect."""
        self._closed = True
        await self._reads.close()
        if self._writer is not None:
            await asyncio.wait([self._writer], timeout=CLOSE_TIMEOUT_S)
            self._writer.cancel()
            await asyncio.wait([self._writer])
        self._count("skipped", len(self._queue))
        self._queue.clear()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._client.aclose()
        except Exception as error:
            self._failed(error, 1)

    async def _read(self, keys: Sequence[bytes]) -> Sequence[object] | None:
        """One value per key, or None when they cannot be had."""
        if not self._breaker.allow():
            self._count("miss", len(keys))
            return None
        return await self._reads.read(keys)

    async def _mget(self, keys: Sequence[bytes]) -> Sequence[object] | None:
        try:
            values: Sequence[object] = await in_time(
                self._client.mget([KEY_PREFIX + key for key in keys]), self._timeout_s
            )
            if not isinstance(values, list) or len(values) != len(keys):
                raise ValueError("MGET's reply is not one value per key")
        except Exception as error:  # whatever it is, the scores must flow on
            self._failed(error, len(keys))
            return None
        self._succeeded()
        return values

    def _open(self, keys: Sequence[bytes], values: Sequence[object], num_heads: int) -> list[bytes | None]:
        found = [unseal(k, v, num_heads) for k, v in zip(keys, values, strict=True)]
        absent = values.count(None)
        hits = len(found) - found.count(None)
        self._count("hit", hits)
        self._count("miss", absent)
        self._count("error", len(found) - hits - absent)
        return found

    async def _drain(self) -> None:
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(MAX_KEYS, len(self._queue)))]
            await self._write(batch)

    async def _write(self, batch: Sequence[tuple[bytes, bytes]]) -> None:
        if not self._breaker.allow():
            self._count("skipped", len(batch))
            return
        try:
            pipeline = self._client.pipeline(transaction=False)
            for key, payload in batch:
                pipeline.set(KEY_PREFIX + key, seal(key, payload), ex=TTL_S)
            async with asyncio.timeout(WRITE_PATIENCE * self._timeout_s):
                replies: list[Any] = await pipeline.execute(raise_on_error=False)
        except asyncio.CancelledError:  # by `close`
            self._count("skipped", len(batch))
            raise
        except Exception as error:
            self._failed(error, len(batch))
            return
        # A full or read-only server answers with an error per entry: it is alive, and reads still serve.
        refused = sum(isinstance(reply, Exception) for reply in replies)
        self._count("stored", len(batch) - refused)
        self._count("error", refused)
        self._succeeded()

    def _succeeded(self) -> None:
        if self._breaker.is_open:
            _logger.info("redis answers again; the shared cache is on")
        self._breaker.succeeded()

    def _failed(self, error: Exception, count: int) -> None:
        was_open = self._breaker.is_open
        self._breaker.failed()
        self._count("error", count)
        if self._breaker.is_open and not was_open:
            _logger.warning("redis keeps failing (%s: %s); scoring without it", type(error).__name__, error)

    def _count(self, outcome: str, count: int) -> None:
        if count:
            self._observer.cache("redis", outcome, count)
