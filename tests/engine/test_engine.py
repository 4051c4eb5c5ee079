import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import (
    BackendFailed,
    DeadlineExceeded,
    GuerdonError,
    NotReady,
    Overloaded,
)
from guerdon_service.core.limits import Limits
from guerdon_service.core.ports import BatchReport, NullObserver
from guerdon_service.core.query import Lane
from guerdon_service.engine.engine import Engine
from guerdon_service.engine.worker import STALL_S
from tests.engine.gated_backend import NOT_FINITE, POISON, GatedBackend, item

FAR = 1e18


class Clock:
    """Seconds that stand still until told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def running(
    backend: GatedBackend, limits: Limits | None = None, clock: Clock | None = None
) -> AsyncIterator[Engine]:
    engine = Engine("m", backend, limits or Limits(), NullObserver(), clock or Clock())
    try:
        yield engine
    finally:
        backend.open_for_good()
        await engine.close()


async def ask(
    engine: Engine, items: list[Encoded], deadline: float = FAR, lane: Lane = Lane.INTERACTIVE
) -> list[float]:
    keys = [e.input_ids.tobytes() for e in items]
    scores = await engine.score(items, keys, deadline=deadline, lane=lane)
    return [float(r[0]) for r in scores.raw]


async def started(backend: GatedBackend) -> None:
    assert await asyncio.to_thread(backend.started.acquire, timeout=30)


async def until_queued(engine: Engine, num_items: int) -> None:
    while engine._queue.num_items != num_items:
        await asyncio.sleep(0)


async def test_scores_come_back_in_order() -> None:
    backend = GatedBackend()
    backend.open_for_good()
    async with running(backend) as engine:
        assert await ask(engine, [item(3), item(1), item(2)]) == [3.0, 1.0, 2.0]


async def test_work_conserving_while_one_batch_runs_the_next_gathers() -> None:
    backend = GatedBackend()
    async with running(backend) as engine:
        first = asyncio.create_task(ask(engine, [item(1)]))
        await started(backend)
        others = [asyncio.create_task(ask(engine, [item(i)])) for i in range(2, 12)]
        await until_queued(engine, 10)
        backend.open_for_good()
        await asyncio.gather(first, *others)
    assert backend.batches == [[1], list(range(2, 12))]


async def test_token_budget_is_kept_and_one_longer_item_still_runs_alone() -> None:
    backend = GatedBackend()
    async with running(backend, Limits(max_batch_tokens=10)) as engine:
        first = asyncio.create_task(ask(engine, [item(1)]))
        await started(backend)
        rest = asyncio.create_task(ask(engine, [item(2, 4), item(3, 4), item(4, 4), item(5, 25), item(6, 2)]))
        await until_queued(engine, 5)
        backend.open_for_good()
        assert await rest == [2.0, 3.0, 4.0, 5.0, 6.0]
        await first
    assert backend.batches == [[1], [2, 3], [4, 6], [5]]  # the long one lets the short one go first


async def test_a_shared_prompt_counts_once_in_the_budget() -> None:
    backend = GatedBackend(shares_prefix=True)
    backend.open_for_good()
    candidates = [item(i, num_tokens=10, prefix_len=8) for i in range(1, 6)]
    async with running(backend, Limits(max_batch_tokens=18)) as engine:
        await ask(engine, candidates)
    assert backend.batches == [[1, 2, 3, 4, 5]]


async def test_equal_queries_in_flight_share_one_forward() -> None:
    backend = GatedBackend()
    async with running(backend) as engine:
        asks = [asyncio.create_task(ask(engine, [item(7), item(7)])) for _ in range(5)]
        await started(backend)
        late = asyncio.create_task(ask(engine, [item(7)]))
        await until_queued(engine, 0)
        backend.open_for_good()
        assert await asyncio.gather(*asks, late) == [[7.0, 7.0]] * 5 + [[7.0]]
    assert backend.batches == [[7]]


async def test_cancelling_one_waiter_leaves_the_other_its_answer() -> None:
    backend = GatedBackend()
    async with running(backend) as engine:
        blocker = asyncio.create_task(ask(engine, [item(1)]))
        await started(backend)
        leaver = asyncio.create_task(ask(engine, [item(7)]))
        stayer = asyncio.create_task(ask(engine, [item(7)]))
        await until_queued(engine, 1)
        leaver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaver
        backend.open_for_good()
        assert await stayer == [7.0]
        await blocker
    assert backend.batches == [[1], [7]]


async def test_cancelled_work_never_reaches_the_back_end_and_frees_its_room() -> None:
    backend = GatedBackend()
    async with running(backend) as engine:
        blocker = asyncio.create_task(ask(engine, [item(1)]))
        await started(backend)
        leaver = asyncio.create_task(ask(engine, [item(7, 50)]))
        await until_queued(engine, 1)
        leaver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaver
        assert engine._queue.num_tokens == 0
        stayer = asyncio.create_task(ask(engine, [item(8)]))
        await until_queued(engine, 1)
        backend.open_for_good()
        assert await stayer == [8.0]
        await blocker
    assert backend.batches == [[1], [8]]


async def test_expired_work_is_dropped_with_a_clear_error() -> None:
    backend, clock = GatedBackend(), Clock()
    async with running(backend, clock=clock) as engine:
        blocker = asyncio.create_task(ask(engine, [item(1)]))
        await started(backend)
        expired = asyncio.create_task(ask(engine, [item(7)], deadline=clock.now + 5))
        alive = asyncio.create_task(ask(engine, [item(8)], deadline=clock.now + 50))
        await until_queued(engine, 2)
        clock.now += 10
        backend.open_for_good()
        with pytest.raises(DeadlineExceeded):
            await expired
        assert await alive == [8.0]
        await blocker
    assert backend.batches == [[1], [8]]


async def test_a_later_waiter_extends_the_deadline_of_shared_work() -> None:
    backend, clock = GatedBackend(), Clock()
    async with running(backend, clock=clock) as engine:
        blocker = asyncio.create_task(ask(engine, [item(1)]))
        await started(backend)
        early = asyncio.create_task(ask(engine, [item(7)], deadline=clock.now + 5))
        late = asyncio.create_task(ask(engine, [item(7)], deadline=clock.now + 50))
        await until_queued(engine, 1)
        clock.now += 10
        backend.open_for_good()
        assert await late == [7.0]
        assert await early == [7.0]  # the transport's own timer ends an early waiter
        await blocker


async def test_overload_refuses_whole_requests_and_says_when_to_return() -> None:
    backend = GatedBackend()
    async with running(backend, Limits(max_queued_tokens=20)) as engine:
        blocker = asyncio.create_task(ask(engine, [item(1)]))
        await started(backend)
        fits = asyncio.create_task(ask(engine, [item(2, 15)]))
        await until_queued(engine, 1)
        with pytest.raises(Overloaded) as refused:
            await ask(engine, [item(3, 3), item(4, 3)])
        assert refused.value.retry_after_ms is not None and refused.value.retry_after_ms > 0
        assert engine._queue.num_items == 1
        backend.open_for_good()
        assert await fits == [15 * 0 + 2.0]
        await blocker
    assert [3] not in backend.batches and [4] not in backend.batches


async def test_an_empty_queue_takes_a_request_of_any_size() -> None:
    backend = GatedBackend()
    backend.open_for_good()
    async with running(backend, Limits(max_queued_tokens=20, max_batch_tokens=10)) as engine:
        assert len(await ask(engine, [item(i, 9) for i in range(1, 10)])) == 9


async def test_one_bad_item_never_fails_its_batch_mates() -> None:
    backend = GatedBackend()
    async with running(backend) as engine:
        blocker = asyncio.create_task(ask(engine, [item(1)]))
        await started(backend)
        values = [10, POISON, 11, NOT_FINITE, 12]
        asks = [asyncio.create_task(ask(engine, [item(v)])) for v in values]
        await until_queued(engine, 5)
        backend.open_for_good()
        answers = await asyncio.gather(*asks, return_exceptions=True)
        await blocker
        assert answers[0] == [10.0] and answers[2] == [11.0] and answers[4] == [12.0]
        assert isinstance(answers[1], BackendFailed) and isinstance(answers[3], BackendFailed)
        assert engine.is_healthy


async def test_a_dead_back_end_thread_answers_every_waiter_and_is_unhealthy() -> None:
    def die() -> None:
        raise SystemExit

    backend = GatedBackend(on_forward=die)
    async with running(backend) as engine:
        asks = [asyncio.create_task(ask(engine, [item(1)]))]
        await started(backend)
        asks += [asyncio.create_task(ask(engine, [item(i)])) for i in range(2, 6)]
        await until_queued(engine, 4)
        backend.open_for_good()
        answers = await asyncio.gather(*asks, return_exceptions=True)
        assert all(isinstance(a, BackendFailed) for a in answers)
        assert not engine.is_healthy
        with pytest.raises(NotReady):
            await ask(engine, [item(9)])


async def test_forwards_that_keep_failing_turn_health_off_and_one_success_turns_it_on() -> None:
    backend = GatedBackend()
    backend.open_for_good()
    async with running(backend) as engine:
        for _ in range(5):
            with pytest.raises(BackendFailed):
                await ask(engine, [item(POISON)])
        assert not engine.is_healthy
        assert await ask(engine, [item(1)]) == [1.0]
        assert engine.is_healthy


async def test_who_has_failed_waits_for_no_probe_and_a_probe_that_hangs_turns_health_off() -> None:
    backend, clock = GatedBackend(), Clock()
    async with running(backend, clock=clock) as engine:
        backend.open_once()
        assert await ask(engine, [item(1)]) == [1.0]
        backend.open_once()
        with pytest.raises(BackendFailed):
            await ask(engine, [item(POISON)])
        for _ in range(3):
            await started(backend)
        assert backend.batches == [[1], [POISON], [1]] and engine.is_healthy
        clock.now += STALL_S + 1
        assert not engine.is_healthy
        backend.open_for_good()
        assert await ask(engine, [item(2)]) == [2.0]
        assert engine.is_healthy


async def test_a_failed_batch_is_tried_again_without_what_nobody_waits_for() -> None:
    backend, clock = GatedBackend(), Clock()
    async with running(backend, clock=clock) as engine:
        blocker = asyncio.create_task(ask(engine, [item(1)]))
        await started(backend)
        stays = [asyncio.create_task(ask(engine, [item(v)])) for v in (2, POISON)]
        leaves = asyncio.create_task(ask(engine, [item(3)]))
        expires = asyncio.create_task(ask(engine, [item(4)], deadline=clock.now + 5))
        await until_queued(engine, 4)
        backend.open_once()
        await started(backend)
        leaves.cancel()
        clock.now += 10
        await asyncio.wait([leaves])
        backend.open_for_good()
        answers = await asyncio.gather(*stays, expires, return_exceptions=True)
        await blocker
    assert answers[0] == [2.0]
    assert isinstance(answers[1], BackendFailed) and isinstance(answers[2], DeadlineExceeded)
    assert backend.batches == [[1], [2, POISON, 3, 4], [2, POISON], [2], [POISON]]


async def test_bulk_cannot_starve_interactive_nor_the_reverse() -> None:
    backend = GatedBackend()
    async with running(backend, Limits(max_batch_tokens=8)) as engine:
        blocker = asyncio.create_task(ask(engine, [item(1)]))
        await started(backend)
        bulk = asyncio.create_task(ask(engine, [item(100 + i, 2) for i in range(12)], lane=Lane.BULK))
        await until_queued(engine, 12)
        interactive = asyncio.create_task(ask(engine, [item(200 + i, 2) for i in range(12)]))
        await until_queued(engine, 24)
        backend.open_for_good()
        await asyncio.gather(blocker, bulk, interactive)
    is_mixed = [any(v < 200 for v in b) and any(v >= 200 for v in b) for b in backend.batches[1:]]
    assert any(is_mixed), "bulk is served while interactive work waits"
    last_interactive = max(i for i, b in enumerate(backend.batches) if any(v >= 200 for v in b))
    assert last_interactive <= 5, "interactive work came later: it still passes the bulk work that waits"


async def test_closing_answers_what_waits_and_frees_the_back_end() -> None:
    backend = GatedBackend()
    engine = Engine("m", backend, Limits(), NullObserver(), Clock())
    running_ask = asyncio.create_task(ask(engine, [item(1)]))
    await started(backend)
    waiting = asyncio.create_task(ask(engine, [item(2)]))
    await until_queued(engine, 1)
    closing = asyncio.create_task(engine.close())
    with pytest.raises(NotReady):
        await waiting
    backend.open_for_good()
    assert await running_ask == [1.0]
    await closing
    assert backend.closed


async def test_every_admitted_item_gets_exactly_one_answer_under_random_cancellation() -> None:
    backend = GatedBackend()
    backend.open_for_good()
    lock = threading.Lock()
    reports: list[int] = []

    class Counting(NullObserver):
        def batch(self, model: str, report: BatchReport) -> None:
            with lock:
                reports.append(report.num_items)

    engine = Engine("m", backend, Limits(max_batch_tokens=16), Counting())
    tasks = [asyncio.create_task(ask(engine, [item(1000 + i % 40, 1 + i % 5)])) for i in range(400)]
    for i, task in enumerate(tasks):
        if i % 3 == 0:
            await asyncio.sleep(0)
            task.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    for i, answer in enumerate(answers):
        assert answer == [float(1000 + i % 40)] or isinstance(answer, asyncio.CancelledError)
        assert not isinstance(answer, GuerdonError)
    assert engine._queue.num_items == 0 and engine._queue.num_tokens == 0
    assert not engine._in_flight
    await engine.close()
