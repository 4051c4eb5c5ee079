"""Token buckets: the arithmetic against a plain simulation, and Redis's script against the arithmetic."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon_service.cache.breaker import Breaker
from guerdon_service.core.rate import Bucket, KeyLimits, take
from guerdon_service.quota.local_buckets import LocalBuckets
from guerdon_service.quota.redis_buckets import RedisBuckets
from tests.redis_server import RedisServer

STEPS = st.lists(st.tuples(st.floats(0, 90), st.integers(0, 30), st.booleans()), max_size=30)
"""Seconds that pass, then what is asked, and whether it is forced."""
BUCKETS = (Bucket("per_minute", "tokens", 20, 60), Bucket("per_hour", "tokens", 100, 3600))


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as it:
        yield it


class Pail:
    """A bucket as it is usually written: a level that is filled by and by."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket, self.level = bucket, bucket.capacity

    def pass_time(self, seconds: float) -> None:
        filled = self.level + seconds * self.bucket.capacity / self.bucket.period_s
        self.level = min(self.bucket.capacity, filled)


@given(STEPS)
def test_a_backlog_is_a_bucket(steps: list[tuple[float, int, bool]]) -> None:
    clock = 0.0
    local, pails = LocalBuckets(lambda: clock), [Pail(bucket) for bucket in BUCKETS]
    for seconds, cost, force in steps:
        clock += seconds
        for pail in pails:
            pail.pass_time(seconds)
        lacking = max(min(cost, pail.bucket.capacity) - pail.level for pail in pails)
        if not force and abs(lacking) < 1e-6:
            continue  # a tie, which rounding may break either way
        taken = local.take("t", BUCKETS, [cost, cost], force=force)
        assert (taken.refused is None) == (force or lacking <= 0)
        if taken.refused is None:
            for pail in pails:
                pail.level -= cost
        else:
            later = [max(0.0, b - taken.wait_ms / 1000) for b in taken.backlogs_s]
            assert take(BUCKETS, later, [cost] * 2).refused is None
        for pail, backlog_s in zip(pails, taken.backlogs_s, strict=True):
            missing = (pail.bucket.capacity - pail.level) * pail.bucket.period_s / pail.bucket.capacity
            assert backlog_s == pytest.approx(missing, abs=1e-6)


def test_what_rounding_leaves_of_a_wait_is_none() -> None:
    taken = take(BUCKETS, [1.4210854715202004e-14, 759.0], [20.0, 20.0])
    assert (taken.refused, taken.wait_ms) == (None, 0)


@settings(max_examples=25)
@given(st.lists(st.floats(0, 4000), min_size=2, max_size=2), st.integers(-20, 150), st.booleans())
def test_after_the_wait_the_same_is_granted(backlogs_s: list[float], cost: int, force: bool) -> None:
    taken = take(BUCKETS, backlogs_s, [cost, cost], force=force)
    if taken.refused is not None:
        assert taken.wait_ms > 0
        later = [max(0.0, b - taken.wait_ms / 1000) for b in backlogs_s]
        assert take(BUCKETS, later, [cost, cost]).refused is None
        sooner = [max(0.0, b - (taken.wait_ms - 2) / 1000) for b in backlogs_s]
        assert take(BUCKETS, sooner, [cost, cost]).refused is not None
        assert taken.backlogs_s == tuple(backlogs_s), "nothing is charged"


ASKS = st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=1, max_size=8)


@settings(max_examples=25, derandomize=True)
@given(asks=ASKS)
def test_the_script_in_redis_does_the_same_arithmetic(
    server: RedisServer, asks: list[tuple[int, bool]]
) -> None:
    """Time passes in Redis meanwhile, a little: what it could decide either way is not compared."""

    async def compare() -> None:
        shared, local = RedisBuckets(server.url, Breaker(), timeout_s=10), LocalBuckets()
        try:
            for cost, force in asks:
                mine = local.take("t", BUCKETS, [cost, cost], force=force)
                theirs = await shared.take("t", BUCKETS, [cost, cost], force=force)
                assert theirs is not None
                assert theirs.backlogs_s == pytest.approx(mine.backlogs_s, abs=1.0)
                if mine.wait_ms == 0 or mine.wait_ms > 1000:
                    assert theirs.refused == mine.refused
                    assert theirs.wait_ms == pytest.approx(mine.wait_ms, abs=1000)
        finally:
            await shared.close()

    with server.client() as redis:
        redis.flushall()
    asyncio.run(compare())


def test_what_redis_keeps_of_a_key_goes_when_its_buckets_are_full(server: RedisServer) -> None:
    async def charge() -> None:
        shared = RedisBuckets(server.url, Breaker(), timeout_s=10)
        await shared.take("gone", BUCKETS, [1, 1], force=False)
        await shared.close()

    asyncio.run(charge())
    with server.client() as redis:
        (name,) = redis.keys("guerdon:limit:*gone")
        assert 0 < int(redis.pttl(name)) <= 36_001  # 1 of 100 an hour


def test_no_limit_is_no_bucket() -> None:
    assert KeyLimits().buckets == ()
    names = [b.name for b in KeyLimits(1, 2, 3).buckets]
    assert names == list(KeyLimits.__dataclass_fields__)
