"""The state database goes wrong: scoring goes on, and the registry does when the database does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from sqlalchemy import event

from guerdon_service.core.errors import NotReady
from guerdon_service.core.feedback import Feedback
from guerdon_service.state.database import Database, open_database
from guerdon_service.state.feedback_store import SqlFeedbackStore
from tests.faults.fault import Fault
from tests.faults.load import Tally
from tests.faults.scene import MODEL, Scene, scene
from tests.postgres_server import PostgresServer
from tests.registry.replica import Replica, with_registry


async def postgres_killed(phase: int) -> Tally:
    with PostgresServer() as server:
        database = await asyncio.to_thread(open_database, server.new_database())
        async with scene() as it, _registry(it, database) as registry:
            await registry.registry.register(MODEL, "1", "ops")
            await asyncio.to_thread(server.kill)
            with pytest.raises(NotReady):
                await registry.registry.register(MODEL, "2", "ops")
            await it.load.more(phase)
            await asyncio.to_thread(server.start)
            await registry.registry.register(MODEL, "2", "ops")
            history = await registry.registry.history(MODEL)
            assert {version.version for version in history.versions} == {"1", "2"}
            await it.load.more(phase)
            return it.load.tally


async def disk_full(phase: int) -> Tally:
    with TemporaryDirectory() as folder:
        database = open_database(f"sqlite:///{Path(folder) / 'state.db'}")
        store = SqlFeedbackStore(database)
        try:
            async with scene() as it:
                _fill_disk(database)
                with pytest.raises(NotReady):
                    await asyncio.to_thread(_write_on, store)
                await it.load.more(phase)
                return it.load.tally
        finally:
            database.close()


FAULTS = (
    Fault("postgres killed", "SIGQUIT to all of it, then started again", postgres_killed),
    Fault("disk full", "the state database can grow no more", disk_full),
)


@asynccontextmanager
async def _registry(it: Scene, database: Database) -> AsyncIterator[Replica]:
    try:
        async with with_registry(it.served.service, database) as registry:
            yield registry
    finally:
        database.close()


def _fill_disk(database: Database) -> None:
    """SQLite says the same when it may not grow as when the disk is full."""

    @event.listens_for(database.engine, "checkout")
    def _bounded(connection: Any, _record: Any, _proxy: Any) -> None:
        connection.execute("PRAGMA max_page_count = 1")  # which is as many as it has


def _write_on(store: SqlFeedbackStore) -> None:
    for number in range(10_000):
        store.add(Feedback(str(number), (), "a" * 1000, "b", False, "team", "ann", 0.0))
    raise AssertionError("the disk never was full")
