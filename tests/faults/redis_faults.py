"""Redis goes wrong: nobody may notice, because it is only a cache."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import redis

from tests.faults.fault import Fault
from tests.faults.load import Tally
from tests.faults.proxy import Proxy
from tests.faults.scene import Scene, scene
from tests.redis_server import RedisServer


async def killed(phase: int) -> Tally:
    async with _with_redis() as (server, it):
        await asyncio.to_thread(server.kill)
        await it.load.more(phase)
        await asyncio.to_thread(server.start)
        await it.load.more(phase)
        return it.load.tally


async def paused(phase: int) -> Tally:
    async with _with_redis() as (server, it):
        server.pause()
        await it.load.more(phase)
        server.resume()
        await it.load.more(phase)
        return it.load.tally


async def slow(phase: int) -> Tally:
    with RedisServer() as server:
        async with Proxy([server.port]).listening() as proxy, scene(redis_url=_url(proxy.port)) as it:
            await it.load.more(phase)
            for delay_s in (0.005, 0.05, 1.0, 0.0):
                proxy.delay_s = delay_s
                await it.load.more(phase)
            return it.load.tally


async def full(phase: int) -> Tally:
    async with _with_redis("--maxmemory", "8mb", "--maxmemory-policy", "noeviction") as (server, it):
        await asyncio.to_thread(_each, server, _fill)
        await it.load.more(phase)
        return it.load.tally


async def flushed(phase: int) -> Tally:
    return await _tampered(phase, lambda client: client.flushall())


async def corrupted(phase: int) -> Tally:
    return await _tampered(phase, _garble)


async def swapped(phase: int) -> Tally:
    return await _tampered(phase, _swap)


async def wrong_type(phase: int) -> Tally:
    return await _tampered(phase, _make_lists)


async def reconnect_storm(phase: int) -> Tally:
    return await _tampered(phase, lambda client: client.execute_command("CLIENT", "KILL", "TYPE", "normal"))


FAULTS = (
    Fault("redis killed", "SIGKILL, then started again, empty", killed),
    Fault("redis paused", "SIGSTOP: connections stay open, nothing answers", paused),
    Fault("redis slow", "5 ms, 50 ms and 1 s on every chunk", slow),
    Fault("redis full", "8 MB, no eviction: writes are refused", full),
    Fault("redis flushed", "FLUSHALL, again and again", flushed),
    Fault("redis corrupted", "random bytes for every value, again and again", corrupted),
    Fault("redis swapped", "every value under another one's key, again and again", swapped),
    Fault("redis wrong type", "a list in place of every value, again and again", wrong_type),
    Fault("redis reconnects", "every connection killed, again and again", reconnect_storm),
)


@asynccontextmanager
async def _with_redis(*options: str) -> AsyncIterator[tuple[RedisServer, Scene]]:
    with RedisServer(*options) as server:
        async with scene(redis_url=server.url) as it:
            while not await asyncio.to_thread(_num_hits, server):  # scores do come from it
                await it.load.more(20)
            yield server, it


async def _tampered(phase: int, tamper: Callable[["redis.Redis"], object]) -> Tally:
    async with _with_redis() as (server, it):
        for _ in range(8):
            await asyncio.to_thread(_each, server, tamper)
            await it.load.more(phase // 4)
        return it.load.tally


def _each(server: RedisServer, tamper: Callable[["redis.Redis"], object]) -> None:
    with server.client() as client:
        tamper(client)


def _num_hits(server: RedisServer) -> int:
    with server.client() as client:
        stats = client.info("stats")
        assert isinstance(stats, dict)
        return int(stats["keyspace_hits"])


def _url(port: int) -> str:
    return f"redis://127.0.0.1:{port}/0"


def _fill(client: "redis.Redis") -> None:
    for number in range(10_000):
        try:
            client.set(f"filler {number}", bytes(1024))
        except redis.ResponseError:
            return
    raise AssertionError("it never was full")


def _garble(client: "redis.Redis") -> None:
    for key in list(client.scan_iter()):
        client.set(key, os.urandom(27))


def _swap(client: "redis.Redis") -> None:
    values = {key: client.get(key) for key in client.scan_iter()}
    for key, other in zip(values, reversed(values.values()), strict=True):
        if isinstance(other, bytes):
            client.set(key, other)


def _make_lists(client: "redis.Redis") -> None:
    for key in list(client.scan_iter()):
        with client.pipeline() as together:  # else the service may write the key in between
            together.delete(key)
            together.lpush(key, b"no score")
            together.execute()
