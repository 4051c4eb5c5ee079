"""Candidates that are too old leave, whatever the store does meanwhile."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from guerdon_service.app.build import build
from guerdon_service.app.flags import parse_flags
from guerdon_service.app.load_settings import load_settings
from guerdon_service.app.metrics import PrometheusObserver
from guerdon_service.bestofn.retention import DAY_S, prune_candidates
from guerdon_service.core.candidate_log import CandidateRecord
from guerdon_service.core.errors import InvalidInput, NotReady
from guerdon_service.state.candidate_store import SqlCandidateStore
from guerdon_service.state.database import open_database
from tests.state.test_candidate_store import record


class Shelf:
    """Times of records; away at its first call, and gives two at a time."""

    def __init__(self, *times: float) -> None:
        self.times = list(times)
        self.calls: list[float] = []
        self.emptied = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def add(self, record: CandidateRecord) -> None:
        self.times.append(record.at)

    def read(self, tenant: str | None = None) -> Iterator[CandidateRecord]:
        return iter(())

    def prune(self, before: float) -> int:
        self.calls.append(before)
        if len(self.calls) == 1:
            raise NotReady("the database is away")
        old = [at for at in self.times if at < before][:2]
        self.times = [at for at in self.times if at not in old]
        if not old:
            self._loop.call_soon_threadsafe(self.emptied.set)
        return len(old)


async def test_everything_too_old_leaves_after_an_outage() -> None:
    today = 10 * DAY_S
    shelf = Shelf(1.0, 2.0, 3.0, today - 2 * DAY_S, today)
    work = asyncio.create_task(prune_candidates(shelf, 3.0, sweep_s=0.0, now=lambda: today))
    await asyncio.wait_for(shelf.emptied.wait(), 60)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    assert shelf.times == [today - 2 * DAY_S, today]
    assert set(shelf.calls) == {7 * DAY_S}


async def test_the_service_prunes_what_its_setting_says(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    database = open_database(url)
    store = SqlCandidateStore(database)
    for i in range(250):
        store.add(record(f"old {i}", at=float(i)))
    store.add(record("new", at=1e11))
    flags, _ = parse_flags(["--state-url", url, "--candidates-kept-days", "30"])
    domain = await build(load_settings(flags, {}, None), PrometheusObserver())
    try:
        domain.start()
        async with asyncio.timeout(120):
            while len(left := list(store.read())) > 1:
                await asyncio.sleep(0)
    finally:
        await domain.close()
        database.close()
    assert [each.id for each in left] == ["new"]


def test_no_days_are_no_time_at_all() -> None:
    with pytest.raises(InvalidInput, match="--candidates-kept-days"):
        load_settings({"candidates_kept_days": "0"}, {}, None)
    assert load_settings({}, {}, None).candidates_kept_days is None
