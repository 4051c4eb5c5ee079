"""Many callers, few round trips."""

import asyncio
from collections.abc import Sequence

from guerdon_service.cache.grouped_reads import GroupedReads
from tests.cache.recording import RecordingObserver
from tests.cache.sharing import key, shared
from tests.redis_server import RedisServer

CALLERS = 64


class Gate:
    """A fetch whose first round trip waits until it is opened."""

    def __init__(self, *, fails: bool = False) -> None:
        self.trips: list[list[bytes]] = []
        self.begun, self.opened = asyncio.Event(), asyncio.Event()
        self._fails = fails

    async def fetch(self, keys: Sequence[bytes]) -> Sequence[object] | None:
        """Each key in capitals."""
        self.trips.append(list(keys))
        self.begun.set()
        await self.opened.wait()
        return None if self._fails else [k.upper() for k in keys]


async def test_what_is_asked_meanwhile_shares_the_next_trip_within_its_bound() -> None:
    gate = Gate()
    reads = GroupedReads(gate.fetch, 4)
    callers = [asyncio.create_task(reads.read([b"a"]))]
    await gate.begun.wait()
    callers += [
        asyncio.create_task(reads.read(keys)) for keys in ([b"b", b"c"], [b"d"], [b"e", b"f"], [b"g"] * 9)
    ]
    await asyncio.sleep(0)
    gate.opened.set()
    assert await asyncio.gather(*callers) == [[b"A"], [b"B", b"C"], [b"D"], [b"E", b"F"], [b"G"] * 9]
    assert gate.trips == [[b"a"], [b"b", b"c", b"d"], [b"e", b"f"], [b"g"] * 9]


async def test_a_failed_trip_answers_those_who_wait_behind_it() -> None:
    gate = Gate(fails=True)
    reads = GroupedReads(gate.fetch, 1)
    callers = [asyncio.create_task(reads.read([b"a"])) for _ in range(5)]
    await gate.begun.wait()
    gate.opened.set()
    assert await asyncio.gather(*callers) == [None] * 5
    assert len(gate.trips) == 1


async def test_one_caller_that_goes_takes_no_answer_from_the_others() -> None:
    gate = Gate()
    reads = GroupedReads(gate.fetch, 8)
    callers = [asyncio.create_task(reads.read([name])) for name in (b"a", b"b")]
    await gate.begun.wait()
    callers[0].cancel()
    gate.opened.set()
    assert await callers[1] == [b"B"]


async def test_closing_answers_who_waits() -> None:
    gate = Gate()
    reads = GroupedReads(gate.fetch, 1)
    callers = [asyncio.create_task(reads.read([b"a"])) for _ in range(3)]
    await gate.begun.wait()
    await reads.close()
    assert await asyncio.gather(*callers) == [None] * 3


async def test_redis_is_asked_seldom_by_many(redis_server: RedisServer, observer: RecordingObserver) -> None:
    cache = shared(redis_server.url, observer)
    with redis_server.client() as client:
        client.config_resetstat()
        await asyncio.gather(*(cache.get_many([key(n)], 1) for n in range(CALLERS)))
        assert client.info("commandstats")["cmdstat_mget"]["calls"] <= 2
    await cache.close()
