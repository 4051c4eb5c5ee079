"""The queue's two lanes in virtual time: closed-loop interactive clients beside an endless bulk load."""

import asyncio
import heapq
import random
from dataclasses import dataclass, field

import numpy as np
import pytest

from guerdon_service.core.encoded import Encoded
from guerdon_service.core.query import Lane
from guerdon_service.engine.pending import Pending
from guerdon_service.engine.token_queue import BULK_SHARE, TokenQueue

TOKENS_PER_S, PER_BATCH_S, PAUSE_S = 6500.0, 0.002, 0.003
MAX_BATCH_TOKENS, CHUNK_ITEMS, CHUNKS = 2048, 64, 3


@dataclass
class Outcome:
    """Latencies of interactive items in virtual seconds, and the tokens each lane got."""

    latencies_s: list[float] = field(default_factory=list)
    num_tokens: dict[Lane, int] = field(default_factory=lambda: dict.fromkeys(Lane, 0))

    @property
    def p99_s(self) -> float:
        return float(np.quantile(self.latencies_s, 0.99))

    @property
    def bulk_share(self) -> float:
        return self.num_tokens[Lane.BULK] / sum(self.num_tokens.values())


def pending(rng: random.Random, lane: Lane, now: float) -> Pending:
    length = min(512, max(16, int(rng.lognormvariate(5.2, 0.7))))
    encoded = Encoded(np.zeros(length, np.int32), 1, truncated=False)
    return Pending(b"", encoded, lane, float("inf"), None, asyncio.get_running_loop().create_future(), now)


def simulate(num_clients: int, *, bulk: bool, num_items: int = 1500) -> Outcome:
    """One back end that takes from the real queue; time passes only in its forwards."""
    rng, queue, outcome, now = random.Random(0), TokenQueue(MAX_BATCH_TOKENS), Outcome(), 0.0
    arrivals = [(PAUSE_S * rng.random(), Lane.INTERACTIVE) for _ in range(num_clients)]
    arrivals += [(0.0, Lane.BULK)] * (CHUNK_ITEMS * CHUNKS if bulk else 0)
    heapq.heapify(arrivals)
    while len(outcome.latencies_s) < num_items:
        now = now if queue.num_items else max(now, arrivals[0][0])
        while arrivals and arrivals[0][0] <= now:
            at, lane = heapq.heappop(arrivals)
            queue.put([pending(rng, lane, at)])
        batch, _ = queue.take(now)
        now += PER_BATCH_S + sum(p.encoded.num_tokens for p in batch) / TOKENS_PER_S
        for done in batch:
            outcome.num_tokens[done.lane] += done.encoded.num_tokens
            heapq.heappush(arrivals, (now + PAUSE_S * (0.5 + rng.random()), done.lane))
            if done.lane is Lane.INTERACTIVE:
                outcome.latencies_s.append(now - done.queued_at)
    return outcome


@pytest.mark.parametrize("num_clients", [4, 16, 64])
async def test_interactive_p99_grows_at_most_by_half_beside_bulk(num_clients: int) -> None:
    alone, beside = simulate(num_clients, bulk=False), simulate(num_clients, bulk=True)
    assert beside.p99_s <= 1.5 * alone.p99_s


@pytest.mark.parametrize("num_clients", [1, 4, 16, 64])
async def test_bulk_gets_its_share_of_a_busy_back_end_and_the_rest_of_an_idle_one(num_clients: int) -> None:
    share = simulate(num_clients, bulk=True).bulk_share
    assert share >= 0.95 * BULK_SHARE
    assert share >= 0.5 or num_clients > 1


async def test_bulk_gets_whole_batches_once_interactive_work_has_stopped() -> None:
    rng, queue = random.Random(0), TokenQueue(MAX_BATCH_TOKENS)
    queue.put([pending(rng, Lane.INTERACTIVE, 0.0), *(pending(rng, Lane.BULK, 0.0) for _ in range(100))])
    assert [p.lane for p in queue.take(10.0)[0]] == [Lane.INTERACTIVE]
    paused, stopped = queue.take(10.5)[0], queue.take(11.0)[0]
    assert sum(p.encoded.num_tokens for p in paused) <= MAX_BATCH_TOKENS / 8 or len(paused) == 1
    assert sum(p.encoded.num_tokens for p in stopped) > MAX_BATCH_TOKENS - 512


async def test_a_bulk_item_longer_than_a_batch_gets_its_turn_beside_endless_interactive_work() -> None:
    rng, queue = random.Random(0), TokenQueue(64)
    queue.put([pending(rng, Lane.BULK, 0.0)])
    for turn in range(200):
        queue.put(pending(rng, Lane.INTERACTIVE, 0.0) for _ in range(2))
        if any(p.lane is Lane.BULK for p in queue.take(float(turn) / 10)[0]):
            return
    pytest.fail("the bulk item starved")
