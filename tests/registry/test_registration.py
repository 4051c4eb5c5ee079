"""A registration that another replica outruns, or that is cut short, still becomes what it should."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.errors import NotReady
from guerdon_service.core.registry import CANDIDATE, AliasChange, ModelVersion
from guerdon_service.registry.registry import Registry
from guerdon_service.state.database import Database
from guerdon_service.state.evaluation_store import SqlEvaluationStore
from guerdon_service.state.registry_store import SqlRegistryStore
from tests.registry.replica import TEMPLATE, FakeArtifacts, Replica, empty_service


class Meddled(SqlRegistryStore):
    """Before the next move of an alias another replica moves it to `faster`, or the database goes away."""

    faster: str | None = None
    is_cut = False

    def move_alias(self, change: AliasChange) -> None:
        """As the store."""
        if self.is_cut:
            self.is_cut = False
            raise NotReady("the database is away")
        if self.faster is not None:
            version, self.faster = self.faster, None
            source = ModelVersion(change.name, version, f"digest-{version}", "reward", version, "it", 0.0, {})
            super().add_version(source)
            super().move_alias(replace(change, version=version))
        super().move_alias(change)


@asynccontextmanager
async def meddled(database: Database) -> AsyncIterator[tuple[Replica, Meddled]]:
    """A replica with version 1 of ``m``, and the store that meddles with it."""
    store, artifacts = Meddled(database), FakeArtifacts()
    async with empty_service() as service:
        registry = Registry(store, SqlEvaluationStore(database), service.catalog, artifacts, TEMPLATE)
        await registry.adopt(ModelSpec("m", "1"))
        yield Replica(service, registry, artifacts), store


async def test_who_is_outrun_becomes_the_candidate_after_the_other(database: Database) -> None:
    async with meddled(database) as (one, store):
        store.faster = "3"
        await one.registry.register("m", "2", "ops")
        history = await one.registry.history("m")
        assert history.aliases == {"champion": "1", "candidate": "2"}
        assert [c.version for c in history.changes if c.alias == CANDIDATE] == ["3", "2"]
        assert await one.ask("m@candidate") == "2"


async def test_who_is_outrun_to_the_first_champion_becomes_its_candidate(database: Database) -> None:
    async with meddled(database) as (one, store):
        store.faster = "4"
        await one.registry.register("new", "5", "ops")
        assert (await one.registry.history("new")).aliases == {"champion": "4", "candidate": "5"}
        assert (await one.ask("new"), await one.ask("new@candidate")) == ("4", "5")


@pytest.mark.parametrize(("name", "alias"), [("m", "candidate"), ("new", "champion")])
async def test_a_registration_that_was_cut_short_is_ended_by_the_next(
    database: Database, name: str, alias: str
) -> None:
    async with meddled(database) as (one, store):
        store.is_cut = True
        with pytest.raises(NotReady):
            await one.registry.register(name, "2", "ops")
        made = await one.registry.register(name, "2", "ops")
        history = await one.registry.history(name)
        assert (made.version, history.aliases[alias]) == ("2", "2")
        assert await one.registry.register(name, "2", "ops") == made
        assert (await one.registry.history(name)).changes == history.changes
