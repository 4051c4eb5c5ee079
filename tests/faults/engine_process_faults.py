"""Engine processes die: what they were at is done by another one, and they are started again."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from guerdon_service.backends.process.pool import EnginePool
from tests.engine_process import KILL, pool_of
from tests.faults.backend_faults import recovered
from tests.faults.fault import Fault
from tests.faults.load import Tally
from tests.faults.scene import DEADLINE_MS, Scene, scene

NUM_PROCESSES = 2
NUM_KILLS = 3
NUM_POISONERS = 2
MAX_POISONED = 10
WAIT_MS = 2000

CLEAR = frozenset({"backend_failed", "not_ready", "overloaded", "deadline_exceeded"})

Pools = dict[str, EnginePool]
"""By version."""


async def one_killed(phase: int) -> Tally:
    async with _scene() as (it, pools):
        await it.load.more(phase)
        for count in range(NUM_KILLS):
            for pool in pools.values():
                os.kill(pool.processes()[count % NUM_PROCESSES]["pid"], signal.SIGKILL)
            while any(_restarts(pool) <= count for pool in pools.values()):
                await it.load.more(1)
            await it.load.more(phase // NUM_KILLS)
        return it.load.tally


async def all_killed(phase: int) -> Tally:
    with TemporaryDirectory() as folder:
        needed = Path(folder) / "needed"
        needed.touch()
        async with _scene(WAIT_MS, needs=str(needed)) as (it, pools):
            await it.load.more(phase)
            needed.unlink()
            for process in (process for pool in pools.values() for process in pool.processes()):
                os.kill(process["pid"], signal.SIGKILL)
            while any(pool.num_live for pool in pools.values()):
                await asyncio.sleep(0.01)  # no answer need come: whoever was admitted waits for a process
            assert await _readiness(it) == 503, "a replica whose processes are all dead is not ready"
            await it.load.more(phase)
            needed.touch()
            await recovered(it)
            while any(pool.num_live < NUM_PROCESSES for pool in pools.values()):
                await it.load.more(1)
            assert await _readiness(it) == 200
            await it.load.more(phase)
            return it.load.tally


async def killed_by_an_item(phase: int) -> Tally:
    async with _scene() as (it, _):
        num_asked = min(phase // 20, MAX_POISONED)
        poisoners = [_poisoner(it, number, num_asked) for number in range(NUM_POISONERS)]
        outcomes = [outcome for found in await asyncio.gather(*poisoners) for outcome in found]
        assert set(outcomes) <= CLEAR, f"poisoned items gave {set(outcomes)}"
        assert outcomes.count("backend_failed") == it.load.tally.errors["backend_failed"], (
            "a batch mate failed"
        )
        await recovered(it)
        await it.load.more(phase)
        return it.load.tally


FAULTS = (
    Fault("engine process killed", "SIGKILL of one of two of each model, again and again", one_killed),
    Fault(
        "every engine process killed",
        "SIGKILL of all, none can start for a while, deadlines of 2 s",
        all_killed,
        frozenset({"not_ready", "backend_failed", "deadline_exceeded"}),
    ),
    Fault(
        "item that kills engine processes",
        "its processes end with SIGKILL, whichever tries it",
        killed_by_an_item,
        CLEAR,
    ),
)


@asynccontextmanager
async def _scene(deadline_ms: int = DEADLINE_MS, **order: str) -> AsyncIterator[tuple[Scene, Pools]]:
    pools: Pools = {}

    def backend_of(version: str) -> EnginePool:
        pools[version] = pool_of(NUM_PROCESSES, int(version) * 1e-4, order=dict(order))
        return pools[version]

    async with scene(deadline_ms=deadline_ms, backend_of=backend_of) as it:
        yield it, pools


def _restarts(pool: EnginePool) -> int:
    return sum(process["restarts"] for process in pool.processes())


async def _readiness(it: Scene) -> int:
    async with httpx.AsyncClient(base_url=it.served.rest.base_url) as own:
        return (await own.get("/health/ready")).status_code


async def _poisoner(it: Scene, number: int, count: int) -> list[str]:
    return [await it.load.ask(f"{chr(KILL)} {number} {n}!") for n in range(count)]
