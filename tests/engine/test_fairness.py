"""Tenants take turns, and the queue admits what it can do in time; all of it without a clock."""

import asyncio
from collections import Counter

import pytest

from guerdon_service.core.errors import DeadlineExceeded, Overloaded
from guerdon_service.core.limits import Limits
from guerdon_service.core.ports import NullObserver
from guerdon_service.core.query import Lane
from guerdon_service.engine import engine
from guerdon_service.engine.caution import HALF_LIFE_S, LEAST, MOST, STEP, Caution
from guerdon_service.engine.engine import Engine
from guerdon_service.engine.fair_lane import STRETCH
from guerdon_service.engine.pending import Pending
from guerdon_service.engine.throughput import Throughput
from guerdon_service.engine.token_queue import MAX_FORGOTTEN, TokenQueue
from tests.engine.gated_backend import POISON, GatedBackend, item
from tests.engine.test_engine import Clock, ask, running, started, until_queued

BUDGET = 64
FAR = float("inf")


def pending(
    tenant: str,
    num_tokens: int = 8,
    *,
    lane: Lane = Lane.INTERACTIVE,
    deadline: float = FAR,
    prefix: str = "",
) -> Pending:
    future = asyncio.get_running_loop().create_future()
    encoded = item(1, num_tokens, num_tokens // 2)
    return Pending(b"", encoded, lane, deadline, prefix.encode() or None, future, 0.0, tenant)


def tokens_by_tenant(batch: list[Pending]) -> Counter[str]:
    return Counter(name for p in batch for name in [p.tenant] * p.encoded.num_tokens)


async def test_one_greedy_tenant_among_eight_gets_its_share_and_no_more() -> None:
    queue, served = TokenQueue(BUDGET), Counter[str]()
    queue.put(pending("greedy", 16) for _ in range(1000))
    for tenant in "abcdefg":
        queue.put(pending(tenant, 4) for _ in range(100))
    for _ in range(40):
        served += tokens_by_tenant(queue.take(0.0)[0])
    fair = served.total() / 8
    assert all(abs(served[tenant] - fair) <= 32 for tenant in "abcdefg"), served
    assert served["greedy"] <= fair + 32


async def test_a_newcomer_is_in_the_next_batch_whatever_waits() -> None:
    queue = TokenQueue(BUDGET)
    queue.put(pending("greedy") for _ in range(1000))
    queue.take(0.0)
    queue.put([pending("small")])
    assert "small" in {p.tenant for p in queue.take(0.0)[0]}


async def test_large_items_are_paid_for_in_later_turns() -> None:
    queue, served = TokenQueue(BUDGET), Counter[str]()
    queue.put(pending("large", 60) for _ in range(100))
    queue.put(pending("small", 2) for _ in range(2000))
    for _ in range(50):
        served += tokens_by_tenant(queue.take(0.0)[0])
    assert abs(served["large"] - served["small"]) <= 2 * 60 + 8


async def test_a_short_item_does_not_wait_for_the_long_ones_before_it() -> None:
    queue = TokenQueue(BUDGET)
    queue.put(pending("a", 60) for _ in range(3))
    queue.put([pending("a", 4)])
    assert [p.encoded.num_tokens for p in queue.take(0.0)[0]] == [4, 60]


async def test_a_long_item_is_overtaken_by_no_more_than_its_own_length_allows() -> None:
    queue, overtaken = TokenQueue(BUDGET), 0
    queue.put([pending("a", 60)])
    while True:
        queue.put(pending("a", 4) for _ in range(BUDGET // 2))  # twice as fast as they are computed, for ever
        batch = queue.take(0.0)[0]
        if 60 in [p.encoded.num_tokens for p in batch]:
            break
        overtaken += sum(p.encoded.num_tokens for p in batch)
    assert STRETCH * (60 - 4) - 2 * BUDGET <= overtaken <= STRETCH * 60


async def test_a_long_item_is_overtaken_by_no_more_than_its_deadline_allows() -> None:
    queue = TokenQueue(BUDGET)
    hurried = pending("a", 40)
    hurried.overtaking = 100
    queue.put([hurried, *(pending("a", 4) for _ in range(100))])
    order = [p.encoded.num_tokens for _ in range(3) for p in queue.take(0.0)[0]]
    assert order.index(40) == 7, "due at 100 tokens; the short ones are due at 40 + 32, 44 + 32, ..."


async def test_what_a_deadline_leaves_is_shared_by_the_tenants() -> None:
    clock, seconds = Clock(), [10.0, 0.0, 0.0, 0.0]

    def take() -> None:
        clock.now += seconds.pop(0)

    backend = GatedBackend(on_forward=take)
    async with running(backend, clock=clock) as it:
        backend.open_once()
        await ask(it, [item(1, 10)])  # a second per token
        await started(backend)

        def overtaking(left_s: float) -> float:
            return it._admission.admit(Lane.INTERACTIVE, "a", 10, left_s).overtaking

        assert overtaking(FAR) > 1e15
        first = asyncio.create_task(ask(it, [item(2)]))
        await started(backend)
        waits = [asyncio.create_task(ask(it, [item(n, 10)], lane=Lane.INTERACTIVE)) for n in (3, 4)]
        await until_queued(it, 2)
        # one token runs and twenty of another tenant's wait, of which ten come before these ten
        assert overtaking(LEAST * 100) == pytest.approx(100 - 1 - 10 - 10)
        assert overtaking(LEAST * 21) == 0
        backend.open_for_good()
        await asyncio.gather(first, *waits)


async def test_equal_items_and_candidates_of_one_prompt_keep_their_order() -> None:
    queue = TokenQueue(10 * BUDGET)
    equal = [pending("a", 8) for _ in range(4)]
    candidates = [pending("a", size, prefix="same") for size in (9, 8, 9, 8)]
    queue.put([*equal, *candidates])
    batch, _ = queue.take(0.0)
    assert [p for p in batch if p in equal] == equal
    assert [p for p in batch if p in candidates] == candidates


async def test_candidates_of_one_prompt_stay_together_beside_other_tenants() -> None:
    queue = TokenQueue(BUDGET)
    queue.put(pending("a", 8, prefix="same") for _ in range(8))
    queue.put(pending("b", 8) for _ in range(8))
    batch, _ = queue.take(0.0)
    assert [p.tenant for p in batch].count("a") == 8


async def test_a_tenant_alone_has_the_whole_batch_and_owes_nothing_for_it() -> None:
    queue = TokenQueue(BUDGET)
    queue.put(pending("a") for _ in range(100))
    for _ in range(5):
        assert tokens_by_tenant(queue.take(0.0)[0]) == {"a": BUDGET}
    queue.put(pending("b") for _ in range(100))
    assert abs(tokens_by_tenant(queue.take(0.0)[0])["a"] - BUDGET / 2) <= 16


async def test_tokens_before_an_item_are_its_tenants_own_and_as_many_of_each_other() -> None:
    queue = TokenQueue(BUDGET)
    queue.put(pending("greedy") for _ in range(100))
    queue.put(pending("small") for _ in range(2))
    assert queue.tokens_before(Lane.INTERACTIVE, "new", 8) == 8 + 8 + 8
    assert queue.tokens_before(Lane.INTERACTIVE, "small", 8) == 24 + 24
    assert queue.tokens_before(Lane.INTERACTIVE, "greedy", 8) == 808 + 16
    assert queue.tokens_before(Lane.BULK, "new", 10) == 10 + 40, "four tokens in five are interactive work's"


async def test_a_tenant_fills_no_more_of_the_queue_than_it_leaves_free() -> None:
    backend = GatedBackend()
    async with running(backend, Limits(max_queued_tokens=100)) as it:
        first = asyncio.create_task(ask(it, [item(1)]))
        await started(backend)
        greedy = [asyncio.create_task(_of(it, "greedy", 100 + i)) for i in range(10)]
        await until_queued(it, 5)
        small = asyncio.create_task(_of(it, "small", 300))
        await until_queued(it, 6)
        backend.open_for_good()
        answers = await asyncio.gather(*greedy, return_exceptions=True)
        assert [isinstance(a, Overloaded) for a in answers] == [False] * 5 + [True] * 5
        assert await small == 300.0
        await first


async def _of(asked: Engine, tenant: str, value: int) -> float:
    encoded = item(value, 10)
    key = encoded.input_ids.tobytes()
    scores = await asked.score([encoded], [key], deadline=1e18, lane=Lane.INTERACTIVE, tenant=tenant)
    return float(scores.raw[0][0])


async def test_what_cannot_be_done_in_time_is_refused_at_once_with_when_to_come_back() -> None:
    clock, sizes = Clock(), [1, 1, 20, 10]

    def take_a_second_per_token() -> None:
        clock.now += sizes.pop(0)

    backend = GatedBackend(on_forward=take_a_second_per_token)
    async with running(backend, clock=clock) as it:
        for value in (1, 2):  # a second per token, as the engine now knows
            backend.open_once()
            await ask(it, [item(value)])
            await started(backend)
        running_now = asyncio.create_task(ask(it, [item(3, 20)]))
        await started(backend)
        waiting = asyncio.create_task(ask(it, [item(4, 10)]))
        await until_queued(it, 1)
        with pytest.raises(Overloaded) as refused:
            await ask(it, [item(5, 10)], deadline=clock.now + 30)
        # 20 tokens run, 10 wait, 10 more are asked for: 40 seconds, with caution 50, and 30 are left.
        assert refused.value.retry_after_ms == 1000 * (LEAST * 40 - 30)
        backend.open_for_good()
        assert (await running_now, await waiting) == ([3.0], [4.0])


def test_caution_rises_once_for_all_who_were_let_in_before_and_is_forgotten() -> None:
    caution = Caution()
    for _ in range(10):
        caution.late(queued_at=1.0, now=2.0)
    assert caution.factor(2.0) == pytest.approx(LEAST * STEP)
    caution.late(queued_at=2.0, now=2.0)
    assert caution.factor(2.0) == pytest.approx(LEAST * STEP**2)
    assert caution.factor(2.0 + HALF_LIFE_S / 4) == pytest.approx(LEAST * STEP**2 / 2**0.25)
    assert caution.factor(2.0 + HALF_LIFE_S) == LEAST
    for n in range(100):
        caution.late(queued_at=100.0 + n, now=100.5 + n)
    assert caution.factor(199.5) == MOST


async def test_who_is_refused_makes_nobody_more_cautious() -> None:
    backend, clock = GatedBackend(), Clock()
    async with running(backend, Limits(max_queued_tokens=4), clock) as it:
        first = asyncio.create_task(ask(it, [item(1)]))
        await started(backend)
        waits = asyncio.create_task(ask(it, [item(2, 3)]))
        await until_queued(it, 1)
        for _ in range(10):
            with pytest.raises(Overloaded):
                await ask(it, [item(3, 2)], deadline=clock.now + 0.005)
        assert set(it.state()["caution"].values()) == {LEAST}
        backend.open_for_good()
        await asyncio.gather(first, waits)


async def test_who_was_let_in_and_came_too_late_makes_its_lane_more_cautious() -> None:
    backend, clock = GatedBackend(), Clock()
    async with running(backend, Limits(max_batch_tokens=1), clock) as it:
        backend.open_once()
        await ask(it, [item(9)])  # the pace is known from now on
        await started(backend)
        first = asyncio.create_task(ask(it, [item(1)]))
        await started(backend)
        waits = asyncio.create_task(ask(it, [item(2)]))
        await until_queued(it, 1)
        expires = asyncio.create_task(ask(it, [item(3)], deadline=clock.now + 5))
        gives_up = asyncio.create_task(ask(it, [item(4)], deadline=clock.now + 5))
        changes_its_mind = asyncio.create_task(ask(it, [item(5)], deadline=clock.now + 50))
        await until_queued(it, 4)
        clock.now += 5
        for task in (gives_up, changes_its_mind):
            task.cancel()
        await asyncio.wait([gives_up, changes_its_mind])
        caution = it.state()["caution"]
        assert caution == {"interactive": pytest.approx(LEAST * STEP), "bulk": LEAST}, "one was late"
        later = asyncio.create_task(ask(it, [item(6)], deadline=clock.now + 5))
        await until_queued(it, 3)
        clock.now += 6
        backend.open_for_good()
        await asyncio.gather(first, waits)
        for task in (expires, later):
            with pytest.raises(DeadlineExceeded):
                await task
        raised = LEAST * STEP**2 * 2 ** (-6 / HALF_LIFE_S)
        assert it.state()["caution"]["interactive"] == pytest.approx(raised), "and one more"


async def test_room_is_checked_before_anything_is_tokenized() -> None:
    backend, clock = GatedBackend(), Clock()
    async with running(backend, Limits(max_queued_tokens=8), clock) as it:
        it.check_room(1000, deadline=FAR, lane=Lane.INTERACTIVE, tenant="")
        first = asyncio.create_task(ask(it, [item(1)]))
        await started(backend)
        waits = asyncio.create_task(ask(it, [item(2, 3)]))
        await until_queued(it, 1)
        it.check_room(2, deadline=FAR, lane=Lane.INTERACTIVE, tenant="")
        with pytest.raises(Overloaded, match="max_queued_tokens 8 leaves no room for 3 more"):
            it.check_room(3, deadline=FAR, lane=Lane.INTERACTIVE, tenant="")
        backend.open_for_good()
        await asyncio.gather(first, waits)


async def test_an_empty_queue_admits_whatever_was_estimated() -> None:
    clock = Clock()

    def stall() -> None:
        clock.now += 1000.0

    backend = GatedBackend(on_forward=stall)
    backend.open_for_good()
    async with running(backend, clock=clock) as it:
        await ask(it, [item(1)])
        assert await ask(it, [item(2)], deadline=clock.now + 5) == [2.0]


def test_one_stalled_forward_does_not_spoil_the_estimate() -> None:
    throughput = Throughput()
    assert not throughput.is_known
    for seconds in (1.0, 1.0, 500.0, 1.0, 1.0):
        throughput.add(1000, seconds)
    throughput.add(3, 3.0)  # a tiny batch, dear per token
    assert throughput.is_known
    assert throughput.seconds_for(2000) == pytest.approx(2.0)


async def test_nobody_joins_an_item_that_is_being_dropped() -> None:
    """The loop reads its clock before the deadline, the back-end thread after it, and the thread is first."""
    queue, late = TokenQueue(BUDGET), pending("a", deadline=10.0)
    queue.put([late])
    assert queue.take(10.1) == ([], [late])
    assert not queue.join(late, deadline=100.0, lane=Lane.INTERACTIVE, now=9.9)


async def test_interactive_work_takes_the_bulk_item_that_it_joins_into_its_lane() -> None:
    queue, shared = TokenQueue(BUDGET), pending("a", lane=Lane.BULK)
    queue.put([*(pending("a", lane=Lane.BULK) for _ in range(50)), shared])
    queue.put(pending("a") for _ in range(2))
    assert queue.join(shared, FAR, Lane.INTERACTIVE, 0.0)
    assert shared in queue.take(0.0)[0]
    left = [p for _ in range(50) for p in queue.take(1000.0)[0]]
    assert shared not in left
    assert (queue.num_items, queue.num_tokens) == (0, 0)


async def test_forgotten_items_do_not_fill_the_memory_behind_a_back_end_that_hangs() -> None:
    queue = TokenQueue(BUDGET)
    for _ in range(5 * MAX_FORGOTTEN):
        gone = pending("a")
        queue.put([gone])
        queue.forget(gone)
    kept = sum(len(q) for lane in queue._lanes.values() for q in lane._queues.values())
    assert kept <= MAX_FORGOTTEN
    assert queue.num_items == 0


async def test_expired_items_take_no_room_in_a_batch() -> None:
    queue = TokenQueue(BUDGET)
    queue.put(pending("a", deadline=5.0) for _ in range(100))
    alive = pending("a")
    queue.put([alive])
    batch, expired = queue.take(6.0)
    assert batch == [alive] and len(expired) == 100


async def test_poisoned_requests_alone_never_make_a_healthy_back_end_unhealthy() -> None:
    backend = GatedBackend()
    backend.open_for_good()
    async with running(backend) as it:
        assert await ask(it, [item(1)]) == [1.0]
        for _ in range(10):
            await asyncio.gather(ask(it, [item(POISON)]), return_exceptions=True)
        assert it.is_healthy


async def test_a_stalled_forward_makes_the_engine_unhealthy_for_as_long_as_it_lasts() -> None:
    backend, clock = GatedBackend(), Clock()
    async with running(backend, clock=clock) as it:
        stalled = asyncio.create_task(ask(it, [item(1)]))
        await started(backend)
        clock.now += 61
        assert not it.is_healthy
        backend.open_for_good()
        await stalled
        assert it.is_healthy


async def test_bulk_credit_never_fills_a_batch_over_its_budget() -> None:
    queue, long = TokenQueue(BUDGET), pending("a", 3 * BUDGET, lane=Lane.BULK)
    queue.put([long, *(pending("a", 8, lane=Lane.BULK) for _ in range(100))])
    for _ in range(8):  # the long item saves up for its turn
        queue.put(pending("a", 8) for _ in range(8))
        assert long not in queue.take(0.0)[0]
    queue.forget(long)
    queue.put(pending("a", 8) for _ in range(8))
    assert sum(p.encoded.num_tokens for p in queue.take(0.0)[0]) <= BUDGET


async def test_a_back_end_that_hangs_keeps_nobody_from_stopping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "CLOSE_TIMEOUT_S", 0.01)
    backend = GatedBackend()
    hanging = Engine("m", backend, Limits(), NullObserver(), Clock())
    lost = asyncio.create_task(ask(hanging, [item(1)]))
    await started(backend)
    await hanging.close()
    assert not backend.closed, "its weights are in use"
    backend.open_for_good()
    assert await lost == [1.0]
