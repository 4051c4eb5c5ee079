"""What Redis answers: damaged, foreign and nonsensical values are misses, and they are counted."""

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest

from guerdon_service.cache.redis_cache import KEY_PREFIX
from tests.cache.recording import RecordingObserver
from tests.cache.sharing import HANG_S, floats, impostor, items, key, shared
from tests.redis_server import RedisServer


def tampered(value: bytes, other: bytes) -> Iterator[bytes]:
    yield b""
    yield b"garbage"
    yield b"\x00" * len(value)
    yield value[:-1]
    yield value + value
    yield value[:4] + bytes([value[4] ^ 1]) + value[5:]
    yield other


async def test_tampered_values_are_errors_and_bad_for_nobody_else(
    redis_server: RedisServer, observer: RecordingObserver
) -> None:
    cache = shared(redis_server.url, observer)
    cache.put_many(items(2))
    await observer.until("redis", "stored", 2)
    with redis_server.client() as client:
        value, other = client.get(KEY_PREFIX + key(0)), client.get(KEY_PREFIX + key(1))
        assert isinstance(value, bytes)
        assert isinstance(other, bytes)
        for bad in tampered(value, other):
            client.set(KEY_PREFIX + key(0), bad)
            observer.take()
            assert floats(await cache.get_many([key(0), key(1)], 1)) == [None, 1.25], bad
            assert observer.take() == {("l1", "miss"): 2, ("redis", "error"): 1, ("redis", "hit"): 1}
        client.set(KEY_PREFIX + key(0), value)
    assert floats(await cache.get_many([key(0)], 1)) == [0.25]
    await cache.close()


async def test_another_type_under_the_key(redis_server: RedisServer, observer: RecordingObserver) -> None:
    cache = shared(redis_server.url, observer)
    with redis_server.client() as client:
        client.rpush(KEY_PREFIX + key(0), "x")
    assert await cache.get_many([key(0)], 1) == [None]
    cache.put_many(items(1))
    await observer.until("redis", "stored", 1)
    assert floats(await cache.get_many([key(0)], 1)) == [0.25]
    await cache.close()


async def test_wrong_head_count(redis_server: RedisServer, observer: RecordingObserver) -> None:
    cache = shared(redis_server.url, observer)
    cache.put_many([(key(0), np.array([1.0, 2.0], np.float32))])
    await observer.until("redis", "stored", 1)
    assert await cache.get_many([key(0)], 1) == [None]
    assert await cache.get_many([key(0)], 3) == [None]
    assert observer.counts["redis", "error"] == 2
    await cache.close()


@pytest.mark.parametrize(
    "reply",
    [
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-ERR unexpected\r\n",
        b":1\r\n",
        b"*1\r\n$-1\r\n",
        b"*3\r\n$-1\r\n$-1\r\n$-1\r\n",
        b"*2\r\n$5\r\nab",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x00\xff\x00\xff\r\n",
        b"",
    ],
)
async def test_a_server_that_talks_nonsense(observer: RecordingObserver, reply: bytes) -> None:
    """Not Redis at all, or one in a bad state: the caller gets misses, asks once, and it is counted."""
    num_asked = 0

    async def answer(writer: asyncio.StreamWriter) -> None:
        nonlocal num_asked
        num_asked += 1
        writer.write(reply)
        writer.close()

    async with impostor(answer) as url:
        cache = shared(url, observer)
        async with asyncio.timeout(HANG_S):
            assert await cache.get_many([key(0), key(1)], 1) == [None, None]
            assert num_asked == 1
            assert observer.take() == {("l1", "miss"): 2, ("redis", "error"): 2}
            await cache.close()
