"""One queue in front of a back end in several processes: who takes what, and what their deaths do."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import BackendFailed, Overloaded
from guerdon_service.core.limits import Limits
from guerdon_service.core.ports import ForwardStats, NullObserver, ProcessDied
from guerdon_service.engine import worker
from guerdon_service.engine.engine import CLOSE_TIMEOUT_S, Engine
from tests.engine.gated_backend import GatedBackend, item
from tests.engine.test_engine import Clock, ask, started, until_queued

KILLER = 13


class Processes(GatedBackend):
    """Two processes; an item of `KILLER` ends whichever has it."""

    num_processes = 2
    num_live = 2

    def __init__(self) -> None:
        super().__init__()
        self.changed: Callable[[int, bool], None] = lambda num_live, restarted: None
        self.num_deaths = 0

    def forward(self, batch: Sequence[Encoded]) -> tuple[NDArray[np.float32], ForwardStats]:
        scored = super().forward(batch)
        if KILLER in self.batches[-1]:
            self.num_deaths += 1
            raise ProcessDied
        return scored

    def processes(self) -> Sequence[Mapping[str, Any]]:
        return [{"device": "cpu"}]

    def watch(self, changed: Callable[[int, bool], None]) -> None:
        self.changed = changed
        changed(self.num_live, False)

    def live(self, num_live: int) -> None:
        self.num_live = num_live
        self.changed(num_live, False)


@asynccontextmanager
async def running(
    backend: Processes, observer: NullObserver | None = None, limits: Limits | None = None
) -> AsyncIterator[Engine]:
    engine = Engine("m", backend, limits or Limits(), observer or NullObserver(), Clock())
    try:
        yield engine
    finally:
        backend.open_for_good()
        await engine.close()


async def test_a_free_process_takes_what_waits_while_another_is_at_work() -> None:
    backend = Processes()
    async with running(backend) as engine:
        asking = [asyncio.create_task(ask(engine, [item(1)]))]
        await started(backend)
        asking.append(asyncio.create_task(ask(engine, [item(2)])))
        await started(backend)
        asking.append(asyncio.create_task(ask(engine, [item(3)])))
        asking.append(asyncio.create_task(ask(engine, [item(4)])))
        await until_queued(engine, 2)
        assert backend.batches == [[1], [2]], "both are at work, and nobody else is"
        backend.open_once()
        await started(backend)
        assert backend.batches[2] == [3, 4], "whoever is free first takes all that waits"
        backend.open_for_good()
        backend.open_for_good()
        assert await asyncio.gather(*asking) == [[1], [2], [3], [4]]


async def test_one_request_of_many_batches_wakes_every_process() -> None:
    backend = Processes()
    async with running(backend, limits=Limits(max_batch_tokens=2)) as engine:
        asking = asyncio.create_task(ask(engine, [item(n) for n in range(6)]))
        await started(backend)
        await started(backend)
        assert sorted(map(len, backend.batches)) == [2, 2]
        for _ in range(4):
            backend.open_for_good()
        assert await asking == [0, 1, 2, 3, 4, 5]


async def test_an_item_that_kills_fails_alone() -> None:
    backend = Processes()
    backend.open_for_good()
    async with running(backend) as engine:
        told = await asyncio.gather(
            *(ask(engine, [item(n)]) for n in (1, 2, KILLER, 4)), return_exceptions=True
        )
        assert [told[0], told[1], told[3]] == [[1], [2], [4]]
        assert isinstance(told[2], BackendFailed)
        assert engine.is_healthy


async def test_a_batch_of_items_that_all_kill_is_given_up_and_the_engine_goes_on() -> None:
    backend = Processes()
    backend.num_processes = 1
    backend.open_for_good()
    killers = [item(KILLER, num_tokens=n) for n in range(1, 60)]
    async with running(backend) as engine:
        for _ in range(worker.MAX_FAILED_BATCHES):
            with pytest.raises(BackendFailed):
                await ask(engine, killers)
        assert backend.num_deaths == worker.MAX_DEATHS * worker.MAX_FAILED_BATCHES
        assert engine.is_healthy, "they prove themselves; nobody tries what killed them"
        assert await ask(engine, [item(1)]) == [1]


async def test_health_follows_the_processes_and_so_do_the_figures() -> None:
    class Noting(NullObserver):
        told: list[tuple[str, int, bool]] = []  # noqa: RUF012 - one instance

        def engine_processes(self, model: str, num_live: int, restarted: bool) -> None:
            self.told.append((model, num_live, restarted))

    backend, observer = Processes(), Noting()
    async with running(backend, observer) as engine:
        assert engine.is_healthy and engine.state()["processes"] == [{"device": "cpu"}]
        backend.live(0)
        assert not engine.is_healthy
        backend.live(1)
        assert engine.is_healthy
        assert observer.told == [("m", 2, False), ("m", 0, False), ("m", 1, False)]


async def test_closing_frees_the_processes() -> None:
    backend = Processes()
    async with running(backend):
        pass
    assert backend.closed


async def test_closing_waits_for_no_process_that_is_not_there() -> None:
    class Waiting(Processes):
        def close(self) -> None:
            super().close()
            self.open_for_good()

    backend = Waiting()
    async with running(backend) as engine:
        asking = asyncio.create_task(ask(engine, [item(1)]))
        await started(backend)
        backend.live(0)
        async with asyncio.timeout(CLOSE_TIMEOUT_S / 2):
            await engine.close()
        assert await asking == [1]


async def test_two_processes_do_twice_as_much_before_a_deadline() -> None:
    backend = Processes()
    limits = Limits(max_batch_tokens=100)
    async with running(backend, limits=limits) as engine:
        engine._admission.forwarded(100, 1.0)
        busy = [asyncio.create_task(ask(engine, [item(n, num_tokens=100)])) for n in (1, 2)]
        await started(backend)
        await started(backend)
        waits = asyncio.create_task(ask(engine, [item(3, num_tokens=100)]))
        await until_queued(engine, 1)
        one_more, now = [item(4, num_tokens=100)], engine._clock()
        with pytest.raises(Overloaded):  # 400 tokens by two: 2 s, and a quarter for caution
            await ask(engine, one_more, deadline=now + 2.4)
        last = asyncio.create_task(ask(engine, one_more, deadline=now + 2.6))
        await until_queued(engine, 2)
        backend.live(1)
        with pytest.raises(Overloaded):
            await ask(engine, [item(5)], deadline=now + 4.0)
        for _ in range(4):
            backend.open_for_good()
        assert await asyncio.gather(*busy, waits, last) == [[1], [2], [3], [4]]
