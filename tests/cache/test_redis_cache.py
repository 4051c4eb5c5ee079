"""Redis in every condition: scores stay right and flow on; only the counts change."""

import asyncio
import time

import pytest

from guerdon_service.cache.breaker import Breaker
from guerdon_service.cache.redis_cache import KEY_PREFIX, MAX_KEYS, TTL_S
from guerdon_service.cache.tiered import open_cache
from tests.cache.recording import RecordingObserver
from tests.cache.sharing import HANG_S, PATIENT_S, SHORT_S, floats, impostor, items, key, shared
from tests.cache.test_breaker import Clock
from tests.redis_server import RedisServer


async def test_replicas_share_scores(redis_server: RedisServer, observer: RecordingObserver) -> None:
    first, second = (open_cache(observer, redis_url=redis_server.url, timeout_s=PATIENT_S) for _ in range(2))
    first.put_many(items(3))
    await observer.until("redis", "stored", 3)
    observer.take()
    assert floats(await second.get_many([key(2), key(5), key(0)], 1)) == [2.25, None, 0.25]
    assert observer.take() == {("l1", "miss"): 3, ("redis", "hit"): 2, ("redis", "miss"): 1}
    redis_server.kill()
    assert floats(await second.get_many([key(2), key(0)], 1)) == [2.25, 0.25], "a Redis hit fills L1"
    assert observer.take() == {("l1", "hit"): 2}
    await first.close()
    await second.close()


async def test_keys_have_the_prefix_and_expire(
    redis_server: RedisServer, observer: RecordingObserver
) -> None:
    cache = shared(redis_server.url, observer)
    cache.put_many(items(1))
    await cache.close()
    with redis_server.client() as client:
        assert client.keys() == [b"guerdon:1:" + key(0)]
        ttl_s = client.ttl(KEY_PREFIX + key(0))
    assert isinstance(ttl_s, int)
    assert TTL_S - 600 < ttl_s <= TTL_S


async def test_long_lists_go_in_bounded_round_trips(
    redis_server: RedisServer, observer: RecordingObserver
) -> None:
    cache = shared(redis_server.url, observer)
    count = 2 * MAX_KEYS + 1
    cache.put_many(items(count))
    await observer.until("redis", "stored", count)
    found = await cache.get_many([key(n) for n in range(count)], 1)
    assert floats(found) == [n + 0.25 for n in range(count)]
    with redis_server.client() as client:
        assert client.info("commandstats")["cmdstat_mget"]["calls"] == 3
    await cache.close()


async def test_many_readers_share_a_bounded_pool(
    redis_server: RedisServer, observer: RecordingObserver
) -> None:
    cache = shared(redis_server.url, observer)
    cache.put_many(items(64))
    await observer.until("redis", "stored", 64)
    found = await asyncio.gather(*(cache.get_many([key(n)], 1) for n in range(64)))
    assert [floats(f) for f in found] == [[n + 0.25] for n in range(64)]
    with redis_server.client() as client:
        assert len(client.client_list()) <= 16 + 1
    await cache.close()


async def test_away_from_the_start(redis_server: RedisServer, observer: RecordingObserver) -> None:
    redis_server.kill()
    cache = open_cache(observer, redis_url=redis_server.url)
    assert await cache.get_many([key(0), key(1)], 1) == [None, None]
    cache.put_many(items(2))
    assert floats(await cache.get_many([key(0), key(1)], 1)) == [0.25, 1.25]
    await cache.close()
    assert observer.counts["redis", "error"] == 4
    assert observer.counts["redis", "stored"] == 0


async def test_killed_and_restarted(
    redis_server: RedisServer, observer: RecordingObserver, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    cache = shared(redis_server.url, observer, breaker=Breaker(max_failures=3, backoff_s=1, clock=clock))
    cache.put_many(items(1))
    await observer.until("redis", "stored", 1)
    assert floats(await cache.get_many([key(0)], 1)) == [0.25]

    redis_server.kill()
    observer.take()
    for _ in range(5):
        assert await cache.get_many([key(0)], 1) == [None]
    assert observer.take() == {("l1", "miss"): 5, ("redis", "error"): 3, ("redis", "miss"): 2}
    assert "scoring without it" in caplog.text
    cache.put_many(items(4))
    await observer.until("redis", "skipped", 4)

    redis_server.start()
    assert await cache.get_many([key(0)], 1) == [None]
    with redis_server.client() as client:
        assert "cmdstat_mget" not in client.info("commandstats"), "no call before the back-off is over"
    clock.now_s += 1
    cache.put_many(items(2))
    await observer.until("redis", "stored", 2)
    assert floats(await cache.get_many([key(0), key(1)], 1)) == [0.25, 1.25]
    await cache.close()


async def test_half_open_asks_once(redis_server: RedisServer, observer: RecordingObserver) -> None:
    clock = Clock()
    cache = shared(
        redis_server.url, observer, timeout_s=SHORT_S, breaker=Breaker(max_failures=1, clock=clock)
    )
    redis_server.pause()
    await cache.get_many([key(0)], 1)
    clock.now_s += 10
    observer.take()
    await asyncio.gather(*(cache.get_many([key(n)], 1) for n in range(8)))
    assert observer.take() == {("l1", "miss"): 8, ("redis", "error"): 1, ("redis", "miss"): 7}
    await cache.close()


async def test_paused_server_costs_a_timeout_and_no_more(
    redis_server: RedisServer, observer: RecordingObserver
) -> None:
    cache = open_cache(observer, redis_url=redis_server.url, timeout_s=SHORT_S)
    redis_server.pause()
    async with asyncio.timeout(HANG_S):
        cache.put_many(items(2))
        found = await cache.get_many([key(0), key(1), key(2)], 1)
        assert floats(found) == [0.25, 1.25, None]
        await cache.close()
    assert observer.counts["redis", "error"] == 3
    assert observer.counts["redis", "stored"] == 0


async def test_a_late_reply_never_answers_another_call(
    redis_server: RedisServer, observer: RecordingObserver
) -> None:
    """A connection abandoned at its deadline still has a reply under way."""
    cache = shared(redis_server.url, observer, timeout_s=0.5, breaker=Breaker(max_failures=10**9))
    cache.put_many(items(20))
    await observer.until("redis", "stored", 20)
    redis_server.pause()
    assert await cache.get_many([key(0)], 1) == [None]
    redis_server.resume()
    async with asyncio.timeout(HANG_S):
        for n in range(1, 20):
            while (found := floats(await cache.get_many([key(n)], 1))) == [None]:
                pass
            assert found == [n + 0.25]
    await cache.close()


async def test_full_server_refuses_writes_and_serves_reads(
    redis_server: RedisServer, observer: RecordingObserver
) -> None:
    cache = shared(redis_server.url, observer, breaker=Breaker(max_failures=1))
    cache.put_many(items(1))
    await observer.until("redis", "stored", 1)
    with redis_server.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
    cache.put_many(items(3, first=10))
    await observer.until("redis", "error", 3)
    assert floats(await cache.get_many([key(0), key(10)], 1)) == [0.25, None]
    assert observer.counts["redis", "stored"] == 1
    await cache.close()


async def test_read_only_replica(redis_server: RedisServer, observer: RecordingObserver) -> None:
    cache = shared(redis_server.url, observer)
    with redis_server.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
    cache.put_many(items(2))
    await observer.until("redis", "error", 2)
    with redis_server.client() as client:
        client.config_set("replica-serve-stale-data", "no")
    assert await cache.get_many([key(0)], 1) == [None]
    assert observer.counts["redis", "error"] == 3
    await cache.close()


async def test_wrong_password(redis_server: RedisServer, observer: RecordingObserver) -> None:
    with redis_server.client() as client:
        client.config_set("requirepass", "secret")
    cache = shared(redis_server.url, observer)
    assert await cache.get_many([key(0)], 1) == [None]
    assert observer.counts["redis", "error"] == 1
    await cache.close()


async def test_flushed(redis_server: RedisServer, observer: RecordingObserver) -> None:
    cache = shared(redis_server.url, observer)
    cache.put_many(items(2))
    await observer.until("redis", "stored", 2)
    with redis_server.client() as client:
        client.flushall()
    observer.take()
    assert await cache.get_many([key(0), key(1)], 1) == [None, None]
    assert observer.take() == {("l1", "miss"): 2, ("redis", "miss"): 2}
    await cache.close()


async def test_the_deadline_is_the_whole_calls(observer: RecordingObserver) -> None:
    """Greeting and reply are each in time for the socket, and too late together."""

    async def slowly() -> None:
        await asyncio.sleep(0.2)

    async def answer(writer: asyncio.StreamWriter) -> None:
        await slowly()
        writer.write(b"*1\r\n$-1\r\n")

    async with impostor(answer, greet=slowly) as url:
        cache = shared(url, observer, timeout_s=0.3)
        assert await cache.get_many([key(0)], 1) == [None]
        assert observer.take() == {("l1", "miss"): 1, ("redis", "error"): 1}
        await cache.close()


@pytest.mark.parametrize("turns", [1, 2, 3, 4, 8])
async def test_a_loop_that_stands_still_takes_the_reply_that_came_meanwhile(
    turns: int, redis_server: RedisServer, observer: RecordingObserver
) -> None:
    cache = shared(redis_server.url, observer, timeout_s=0.3)
    cache.put_many(items(1))
    await observer.until("redis", "stored", 1)
    assert floats(await cache.get_many([key(0)], 1)) == [0.25], "connected"
    reading = asyncio.create_task(cache.get_many([key(0)], 1))
    for _ in range(turns):
        await asyncio.sleep(0)
    time.sleep(0.8)  # noqa: ASYNC251 the loop's own work, longer than any deadline of the read
    assert floats(await reading) == [0.25]
    await cache.close()


async def test_the_write_queue_is_bounded(redis_server: RedisServer, observer: RecordingObserver) -> None:
    cache = shared(redis_server.url, observer, max_queued=10)
    cache.put_many(items(8))
    cache.put_many(items(5, first=8))
    assert observer.counts["redis", "skipped"] == 3
    await cache.close()
    assert observer.counts["redis", "stored"] == 10
    with redis_server.client() as client:
        assert client.dbsize() == 10


async def test_close_flushes_and_ends_writing(redis_server: RedisServer, observer: RecordingObserver) -> None:
    cache = shared(redis_server.url, observer)
    cache.put_many(items(1000))
    await cache.close()
    with redis_server.client() as client:
        assert client.dbsize() == 1000
        assert len(client.client_list()) == 1, "the pool is closed"
    cache.put_many(items(2))
    assert observer.counts["redis", "skipped"] == 2


async def test_close_does_not_wait_for_a_paused_server(
    redis_server: RedisServer, observer: RecordingObserver
) -> None:
    cache = shared(redis_server.url, observer)
    redis_server.pause()
    cache.put_many(items(MAX_KEYS + 5))
    async with asyncio.timeout(PATIENT_S):
        await cache.close()
    assert observer.counts["redis", "skipped"] == MAX_KEYS + 5
    cache.put_many(items(1))
    redis_server.resume()
    await cache.close()
    assert observer.counts["redis", "skipped"] == MAX_KEYS + 6, "closed for good"
    assert observer.counts["redis", "stored"] == 0


async def test_a_cancelled_read_stays_cancelled(observer: RecordingObserver) -> None:
    asked = asyncio.Event()

    async def never_answer(_: asyncio.StreamWriter) -> None:
        asked.set()

    async with impostor(never_answer) as url:
        cache = shared(url, observer)
        reading = asyncio.create_task(cache.get_many([key(0)], 1))
        async with asyncio.timeout(HANG_S):
            await asked.wait()
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            await cache.close()
    assert observer.counts["redis", "error"] == 0
