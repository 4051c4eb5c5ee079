"""What the tests of the shared cache use: keys, scores, a cache without a first layer, a false Redis."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import numpy as np

from guerdon_service.cache.breaker import Breaker
from guerdon_service.cache.lru import LruCache
from guerdon_service.cache.redis_cache import RedisCache
from guerdon_service.cache.tiered import TieredCache
from guerdon_service.core.ports import RawScores
from tests.cache.recording import RecordingObserver

PATIENT_S = 20.0
"""Timeout where the test wants an answer, however busy the machine."""
SHORT_S = 0.02
HANG_S = 30.0


def key(n: int) -> bytes:
    return n.to_bytes(32, "big")


def score(n: int) -> RawScores:
    return np.array([n + 0.25], np.float32)


def items(count: int, first: int = 0) -> list[tuple[bytes, RawScores]]:
    return [(key(n), score(n)) for n in range(first, first + count)]


def shared(
    url: str,
    observer: RecordingObserver,
    *,
    timeout_s: float = PATIENT_S,
    breaker: Breaker | None = None,
    max_queued: int = 10_000,
) -> TieredCache:
    """A cache whose first layer keeps nothing, so that every read asks Redis."""
    redis = RedisCache(url, observer, breaker or Breaker(), timeout_s=timeout_s, max_queued=max_queued)
    return TieredCache(LruCache(0), redis, observer)


def floats(found: list[RawScores | None]) -> list[float | None]:
    return [None if f is None else f.item() for f in found]


@asynccontextmanager
async def impostor(
    answer: Callable[[asyncio.StreamWriter], Awaitable[None]],
    greet: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(0),
) -> AsyncIterator[str]:
    """Address of a server that greets as Redis does and hands every MGET and SET to `answer`."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                if b"MGET" in data or b"$3\r\nSET\r\n" in data:
                    await answer(writer)
                else:
                    await greet()
                    writer.write(b"+OK\r\n" * data.count(b"SETINFO"))
        except ConnectionError:  # the cache hung up
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
