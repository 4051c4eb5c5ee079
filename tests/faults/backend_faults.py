"""The back end goes wrong: callers are told so, and what can be scored is."""

import asyncio
import threading
from collections.abc import Sequence

import httpx
import numpy as np

from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.registry import CHAMPION
from tests.faults.fault import Fault
from tests.faults.load import RIGHT, Tally
from tests.faults.scene import MODEL, Scene, scene

FAILED = frozenset({"backend_failed", "not_ready"})
POISON = ord("☠")


async def raises(phase: int) -> Tally:
    def fail(batch: Sequence[Encoded]) -> None:
        raise RuntimeError("injected")

    async with scene() as it:
        await it.load.more(phase)
        it.mischief.before = fail
        await it.load.more(phase)
        it.mischief.stop()
        await recovered(it)
        await it.load.more(phase)
        return it.load.tally


async def hangs(phase: int) -> Tally:
    release = threading.Event()

    def hang(batch: Sequence[Encoded]) -> None:
        assert release.wait(60)

    async with scene(deadline_ms=300) as it:
        await it.load.more(phase)
        it.mischief.before = hang
        await it.load.more(phase // 2)
        release.set()
        it.mischief.stop()
        await recovered(it)
        return it.load.tally


async def not_a_number(phase: int) -> Tally:
    async with scene() as it:
        await it.load.more(phase)
        it.mischief.after = lambda rows: np.where(np.arange(len(rows))[:, None] % 2, np.nan, rows)
        await it.load.more(phase)
        it.mischief.after = lambda rows: np.full_like(rows, np.inf)
        await it.load.more(phase)
        it.mischief.stop()
        await recovered(it)
        return it.load.tally


async def short_array(phase: int) -> Tally:
    async with scene() as it:
        it.mischief.after = lambda rows: rows[:-1] if len(rows) > 1 else rows
        await it.load.more(phase)
        it.mischief.after = lambda rows: np.concatenate((rows, rows[:1])) if len(rows) > 1 else rows
        await it.load.more(phase)
        return it.load.tally


async def out_of_memory(phase: int) -> Tally:
    def run_out(batch: Sequence[Encoded]) -> None:
        if len(batch) > 1:
            raise MemoryError

    async with scene() as it:
        it.mischief.before = run_out
        await it.load.more(2 * phase)
        return it.load.tally


async def poison_in_every_batch(phase: int) -> Tally:
    def choke(batch: Sequence[Encoded]) -> None:
        if any(POISON in item.input_ids for item in batch):
            raise RuntimeError("injected")

    async with scene() as it:
        it.mischief.before = choke
        poisoners = [asyncio.create_task(_poisoner(it, number, phase)) for number in range(4)]
        await it.load.more(2 * phase)
        outcomes = {outcome for poisoner in poisoners for outcome in await poisoner}
        assert outcomes == {"backend_failed"}, f"poisoned items gave {outcomes}"
        assert it.load.tally.errors.total() == 4 * (phase // 4), "a batch mate failed"
        return it.load.tally


async def thread_dies(phase: int) -> Tally:
    died = threading.Event()

    def die(batch: Sequence[Encoded]) -> None:
        died.set()
        raise SystemExit

    async with scene() as it:
        await it.load.more(phase)
        it.mischief.before = die
        # on a starved machine a back end that hangs for a moment has failed too, for that moment
        while not (died.is_set() and it.catalog.resolve(MODEL).state == "failed"):
            await it.load.more(1)
        async with httpx.AsyncClient(base_url=it.served.rest.base_url) as own:
            ready = await own.get("/health/ready")
        assert ready.status_code == 503, "a replica without a back end is not ready"
        it.mischief.stop()
        for version in ("1", "2"):  # as an operator, or the registry's follower, loads it again
            await it.catalog.load_version(ModelSpec(MODEL, version), version, f"digest-{version}")
        it.catalog.point({(MODEL, CHAMPION): "2"})
        await recovered(it)
        await it.load.more(phase)
        return it.load.tally


FAULTS = (
    Fault("back end raises", "every forward raises for a while", raises, FAILED),
    Fault(
        "back end hangs",
        "a forward never ends, deadlines of 300 ms",
        hangs,
        FAILED | {"deadline_exceeded", "overloaded"},
    ),
    Fault("back end gives NaN", "in half of the rows, then infinity in all", not_a_number, FAILED),
    Fault("back end gives too few rows", "one too few, then one too many", short_array),
    Fault("out of memory", "every batch of more than one item", out_of_memory),
    Fault("poison in every batch", "items that make any batch raise", poison_in_every_batch, FAILED),
    Fault("back-end thread dies", "SystemExit within a forward, loaded again", thread_dies, FAILED),
)


async def recovered(it: Scene) -> None:
    """Return once requests are answered again, on their own."""
    async with asyncio.timeout(60):
        while await it.load.ask("is it well again?") != RIGHT:
            await asyncio.sleep(0.05)


async def _poisoner(it: Scene, number: int, phase: int) -> list[str]:
    return [await it.load.ask(f"☠ {number} {count}") for count in range(phase // 4)]
