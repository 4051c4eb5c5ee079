"""Several forwards share the cores: who takes what, and that short items need not wait for long ones."""

import asyncio
import random

import numpy as np
import pytest

from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import Overloaded
from guerdon_service.core.limits import Limits
from guerdon_service.core.query import Lane
from guerdon_service.engine.pending import Pending
from guerdon_service.engine.token_queue import BULK_SHARE, EXPRESS, TokenQueue
from tests.engine.cores import Cores
from tests.engine.gated_backend import GatedBackend, item
from tests.engine.test_engine import Clock, ask, running, started, until_queued
from tests.engine.test_fairness import pending

BUDGET = 64
SHORT, LONG = 40, 500


class Parallel(GatedBackend):
    """Two forwards at once."""

    num_parallel = 2


def lengths(batch: list[Pending]) -> list[int]:
    return [p.encoded.num_tokens for p in batch]


async def test_a_short_queue_gives_small_batches_and_a_long_one_full_ones() -> None:
    queue = TokenQueue(BUDGET, num_takers=2)
    queue.put(pending("a", 4) for _ in range(14))
    queue.take(0.0, 0)
    assert sum(lengths(queue.take(0.0, 1)[0])) == BUDGET / 4
    queue.put(pending("a", 4) for _ in range(100))
    assert sum(lengths(queue.take(0.0, 0)[0])) == BUDGET
    alone = TokenQueue(BUDGET)
    alone.put(pending("a", 4) for _ in range(10))
    assert sum(lengths(alone.take(0.0)[0])) == 40, "whoever takes alone takes all"


async def test_while_all_are_idle_each_takes_its_part() -> None:
    queue = TokenQueue(BUDGET, num_takers=2)
    queue.put(pending("a", 4) for _ in range(12))
    assert sum(lengths(queue.take(0.0, 0)[0])) == 24
    assert sum(lengths(queue.take(0.0, 1)[0])) == 16, "a quarter of a full batch at least"


async def test_who_is_express_hears_that_a_long_item_has_gone() -> None:
    queue = TokenQueue(BUDGET, num_takers=2)
    queue.put(pending("a", 4) for _ in range(2))
    gone = pending("a", 60)
    gone.overtaking = 0
    for taker in (0, 1):
        queue.put([pending("a", 60)])
        queue.take(0.0, taker)
    queue.put([gone, pending("a", 4)])
    woken = asyncio.create_task(asyncio.to_thread(queue.wait, 60.0, EXPRESS))
    while not queue._changed._waiters:  # type: ignore[attr-defined]
        await asyncio.sleep(0)
    queue.forget(gone)
    assert await asyncio.wait_for(woken, 30)
    assert lengths(queue.take(0.0, EXPRESS)[0]) == [4]


async def test_bulk_work_keeps_to_slices_while_express_serves_interactive_work() -> None:
    queue = TokenQueue(BUDGET, num_takers=2)
    queue.put(pending("b", 4, lane=Lane.BULK) for _ in range(100))
    for taker in (0, 1):
        queue.take(0.0, taker)
    queue.put([pending("a", 4)])
    assert lengths(queue.take(10.0, EXPRESS)[0]) == [4]
    assert sum(lengths(queue.take(10.5, 0)[0])) == BUDGET / 8


async def test_candidates_of_one_prompt_are_not_torn_apart() -> None:
    queue = TokenQueue(BUDGET, num_takers=2)
    queue.put(pending("a", 16, prefix="same") for _ in range(7))  # a prompt of 8, responses of 8
    assert len(queue.take(0.0)[0]) == 7


async def test_express_takes_what_is_short_while_all_others_are_busy() -> None:
    queue = TokenQueue(BUDGET, num_takers=2)

    def express() -> list[int]:
        return lengths(queue.take(0.0, EXPRESS)[0])

    queue.put([pending("a", 40), pending("a", 40), pending("a", 4), pending("a", 4)])
    assert express() == [], "two others are free"
    assert lengths(queue.take(0.0, 0)[0]) == [4, 4]
    assert express() == [], "one is free"
    assert lengths(queue.take(0.0, 1)[0]) == [40]
    assert express() == [], "what is next is long"
    queue.put([pending("a", 4), pending("a", 4), pending("a", 4, lane=Lane.BULK)])
    assert express() == [4, 4], "bulk work waits"


async def test_behind_a_long_queue_nobody_is_express() -> None:
    queue = TokenQueue(BUDGET, num_takers=2)
    queue.put(pending("a", 4) for _ in range(2))
    for taker in (0, 1):
        queue.put([pending("a", 60)])
        queue.take(0.0, taker)
    queue.put(pending("a", 4) for _ in range(BUDGET // 4))
    assert queue.num_tokens > BUDGET and not queue.take(0.0, EXPRESS)[0]


async def test_what_express_takes_is_paid_for_to_bulk_work() -> None:
    queue, tokens = TokenQueue(BUDGET, num_takers=2), dict.fromkeys(Lane, 0)
    for _ in range(500):
        queue.put([pending("a", 4), pending("a", 4), pending("a", 4, lane=Lane.BULK)])
        for taker in (0, 1, EXPRESS):
            for p in queue.take(0.0, taker)[0]:
                tokens[p.lane] += p.encoded.num_tokens
    assert tokens[Lane.BULK] >= 0.95 * BULK_SHARE * sum(tokens.values())


def latencies(queue: TokenQueue, takers: tuple[int, ...], cores_per_job: int) -> dict[int, list[float]]:
    """Of short items of which every tenth is long, for five minutes at two thirds of the capacity."""
    found: dict[int, list[float]] = {SHORT: [], LONG: []}

    def done(batch: list[Pending], seconds: float) -> None:
        for p in batch:
            found[p.encoded.num_tokens].append(cores.now - p.queued_at)

    rng, cores, at = random.Random(0), Cores(queue, takers, cores_per_job, done), 0.0
    while at < 300.0:
        at += rng.expovariate(84.0)
        cores.run_until(at)
        length = LONG if rng.random() < 0.1 else SHORT
        future = asyncio.get_running_loop().create_future()
        encoded = Encoded(np.zeros(length, np.int32), 1, truncated=False)
        queue.put([Pending(b"", encoded, Lane.INTERACTIVE, float("inf"), None, future, at)])
    return found


async def test_short_items_behind_long_ones_wait_a_third_of_what_one_forward_on_all_cores_costs() -> None:
    together = latencies(TokenQueue(2048), (0,), 2)
    apart = latencies(TokenQueue(2048, num_takers=2), (0, 1, EXPRESS), 1)
    p95 = [float(np.quantile(found[SHORT], 0.95)) for found in (together, apart)]
    assert p95[1] <= 0.35 * p95[0]
    assert np.mean(apart[LONG]) <= 2.5 * np.mean(together[LONG]), "one core has half the speed of two"


async def test_two_forwards_and_an_express_one_are_under_way_at_once() -> None:
    backend = Parallel()
    async with running(backend, Limits(max_batch_tokens=BUDGET)) as engine:
        asks = []
        for value in (1, 2):
            asks.append(asyncio.create_task(ask(engine, [item(value, 60)])))
            await started(backend)
        asks.append(asyncio.create_task(ask(engine, [item(3, 60)])))
        await until_queued(engine, 1)
        asks.append(asyncio.create_task(ask(engine, [item(4, 2)])))
        await started(backend)
        assert backend.batches == [[1], [2], [4]], "the short one overtakes, the long one waits"
        backend.open_for_good()
        for _ in range(3):
            backend.open_once()
        assert await asyncio.gather(*asks) == [[1.0], [2.0], [3.0], [4.0]]
    assert backend.closed


async def test_an_estimate_counts_that_forwards_share_the_cores() -> None:
    clock = Clock()
    backend = Parallel()
    async with running(backend, Limits(max_batch_tokens=BUDGET), clock) as engine:
        pair = [asyncio.create_task(ask(engine, [item(value, 60)])) for value in (1, 2)]
        await started(backend)
        await started(backend)
        clock.now += 6.0
        backend.open_once()
        await asyncio.wait(pair, return_when=asyncio.FIRST_COMPLETED)
        assert engine._admission.seconds_for(60) == pytest.approx(3.0), "half of the machine for six seconds"
        waits = asyncio.create_task(ask(engine, [item(3, 60)]))
        await started(backend)
        more = asyncio.create_task(ask(engine, [item(4, 60)]))
        await until_queued(engine, 1)
        with pytest.raises(Overloaded):
            await ask(engine, [item(5, 60)], deadline=clock.now + 10.0)
        backend.open_for_good()
        for _ in range(3):
            backend.open_once()
        await asyncio.gather(*pair, waits, more)


@pytest.mark.parametrize(("lengths", "seconds"), [([60], 6.0), ([4, 4, 4, 4], 0.8)])
async def test_a_lone_long_item_does_not_look_like_a_slow_machine(lengths: list[int], seconds: float) -> None:
    """It has half of the cores; several are shared out to all of them."""
    clock, backend = Clock(), Parallel()
    async with running(backend, Limits(max_batch_tokens=BUDGET), clock) as engine:
        items = [item(value, num_tokens) for value, num_tokens in enumerate(lengths)]
        asked = asyncio.create_task(ask(engine, items))
        await started(backend)
        clock.now += seconds
        backend.open_for_good()
        await asked
        assert engine._admission.seconds_for(60) == pytest.approx(3.0)


async def test_one_forward_that_hangs_makes_the_engine_unhealthy_although_another_works() -> None:
    backend, clock = Parallel(), Clock()
    async with running(backend, Limits(max_batch_tokens=BUDGET), clock) as engine:
        hangs = asyncio.create_task(ask(engine, [item(1, 60)]))
        await started(backend)
        clock.now += 61
        assert not engine.is_healthy
        backend.open_for_good()
        await hangs
