"""The cache without Redis: the in-process layer alone."""

import numpy as np
import pytest

from guerdon_service.cache.lru import LruCache
from guerdon_service.cache.tiered import TieredCache, open_cache
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.ports import Cache
from tests.cache.recording import RecordingObserver


def key(n: int) -> bytes:
    return n.to_bytes(32, "big")


async def test_hits_in_the_order_of_the_keys(observer: RecordingObserver) -> None:
    cache: Cache = open_cache(observer)
    cache.put_many([(key(n), np.array([n, -n], np.float32)) for n in range(3)])
    found = await cache.get_many([key(2), key(9), key(0), key(2)], 2)
    assert [None if f is None else f.tolist() for f in found] == [[2, -2], None, [0, 0], [2, -2]]
    assert observer.take() == {("l1", "stored"): 3, ("l1", "hit"): 3, ("l1", "miss"): 1}
    await cache.close()


async def test_what_callers_do_to_arrays_changes_nothing(observer: RecordingObserver) -> None:
    cache = open_cache(observer)
    scores = np.array([1.0], np.float32)
    cache.put_many([(key(1), scores)])
    scores[0] = 2.0
    (found,) = await cache.get_many([key(1)], 1)
    assert found is not None
    assert found.tolist() == [1.0]
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 3.0


async def test_wrong_head_count_is_a_miss(observer: RecordingObserver) -> None:
    cache = open_cache(observer)
    cache.put_many([(key(1), np.array([1.0, 2.0], np.float32))])
    assert await cache.get_many([key(1)], 1) == [None]
    assert await cache.get_many([key(1)], 3) == [None]
    assert observer.counts["l1", "miss"] == 2


async def test_nan_and_infinity_are_never_stored(observer: RecordingObserver) -> None:
    cache = open_cache(observer)
    bad = [(key(n), np.array([1.0, v], np.float32)) for n, v in enumerate([np.nan, np.inf, -np.inf])]
    cache.put_many([*bad, (key(7), np.array([1.0, 2.0], np.float32))])
    found = await cache.get_many([key(0), key(1), key(2), key(7)], 2)
    assert [f is None for f in found] == [True, True, True, False]
    assert observer.counts["l1", "skipped"] == 3


async def test_the_least_recently_used_goes_first(observer: RecordingObserver) -> None:
    cache = TieredCache(LruCache(600), None, observer)
    for n in (0, 1):
        cache.put_many([(key(n), np.array([n], np.float32))])
    await cache.get_many([key(0)], 1)
    cache.put_many([(key(2), np.array([2], np.float32))])
    found = await cache.get_many([key(0), key(1), key(2)], 1)
    assert [f is None for f in found] == [False, True, False]


@pytest.mark.parametrize("url", ["localhost:6379", "memcached://here", "redis://host:port/0"])
def test_a_malformed_url_is_refused_at_once(observer: RecordingObserver, url: str) -> None:
    with pytest.raises(InvalidInput, match="redis_url") as caught:
        open_cache(observer, redis_url=url)
    assert caught.value.param == "redis_url"


def test_at_hand_is_all_or_nothing_and_counts_only_what_it_gives(observer: RecordingObserver) -> None:
    cache = open_cache(observer)
    cache.put_many([(key(n), np.array([n, -n], np.float32)) for n in range(3)])
    observer.take()
    assert cache.at_hand([key(0), key(9)], 2) is None
    assert cache.at_hand([key(0)], 3) is None, "it is not that long"
    assert observer.take() == {}
    found = cache.at_hand([key(2), key(0)], 2)
    assert found is not None and [row.tolist() for row in found] == [[2, -2], [0, 0]]
    assert observer.take() == {("l1", "hit"): 2}
