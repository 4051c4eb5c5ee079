"""Replicas that share a registry: what one decides, the others do; without it, serving goes on."""

import asyncio
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.errors import InvalidInput, NotReady, UnknownModel
from guerdon_service.core.registry import CHAMPION, PromoteQuery
from guerdon_service.registry.follower import RETRY_S, Follower
from guerdon_service.registry.loader import Loader
from guerdon_service.registry.registry import Registry
from guerdon_service.state.database import Database, open_database
from guerdon_service.state.evaluation_store import SqlEvaluationStore
from guerdon_service.state.registry_store import SqlRegistryStore
from tests.postgres_server import PostgresServer
from tests.registry.replica import TEMPLATE, FakeArtifacts, Replica, empty_service, replica
from tests.registry.test_registry import forced


@contextmanager
def opened(url: str) -> Iterator[Database]:
    database = open_database(url)
    yield database
    database.close()


@pytest.fixture(params=["file", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return f"sqlite:///{tmp_path / 'state.db'}"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.new_database()


async def test_another_replica_loads_promotes_and_rolls_back_alike(url: str) -> None:
    with opened(url) as ours, opened(url) as theirs:
        async with replica(ours) as one, replica(theirs) as two:
            await one.registry.register("m", "2", "ops")
            await one.registry.register("new", "4", "ops")
            await forced(one, "2")
            assert await one.ask() == "2"
            await two.until("2")
            async with asyncio.timeout(30):
                while {"new", "m"} != {i.name for i in two.service.models() if i.state == "ready"}:
                    await asyncio.sleep(0.001)
            await two.registry.rollback("m", CHAMPION, "ops", "worse")
            assert await two.ask() == "1"
            await one.until("1")
            assert two.service.is_ready()


async def test_an_alias_that_is_removed_is_gone_on_every_replica_and_may_come_back(url: str) -> None:
    with opened(url) as ours, opened(url) as theirs:
        async with replica(ours) as one, replica(theirs) as two:
            await one.registry.register("m", "2", "ops")
            await two.until("2", "m@candidate")
            await one.registry.remove_alias("m", "candidate", "ops", "it leaked")
            await two.registry.sync()
            with pytest.raises(UnknownModel):
                await two.ask("m@candidate")
            await two.registry.idle()
            assert not two.service.catalog.is_loaded("m", "2")
            with pytest.raises(InvalidInput, match="no alias 'candidate'"):
                await two.registry.remove_alias("m", "candidate", "ops", "")
            asked = PromoteQuery("m", "2", "ops", alias="candidate", override_reason="shown to be fine")
            await one.registry.promote(asked)
            await two.until("2", "m@candidate")


async def test_a_version_whose_alias_goes_while_it_is_loaded_is_not_kept(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    with opened(url) as ours, opened(url) as theirs:
        async with replica(ours) as one, replica(theirs) as two:
            held = Held(two, "2")
            await one.registry.register("m", "2", "ops")
            await asyncio.to_thread(held.is_there.wait, 30)
            await one.registry.remove_alias("m", "candidate", "ops", "it leaked")
            await two.registry.sync()
            held.go.set()
            await two.registry.idle()
            assert {info.version for info in two.service.models()} == {"1"}


async def test_who_catches_up_waits_for_champions_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    with opened(url) as ours, opened(url) as theirs:
        async with replica(ours) as one, replica(theirs, None, follows=False) as two:
            await one.registry.register("extra", "3", "ops")
            await one.registry.register("extra", "2", "ops")
            held = Held(two, "2")
            await two.registry.catch_up()
            assert await two.ask("extra") == "3"
            assert held.is_there.is_set() and not two.service.catalog.is_loaded("extra", "2")
            held.go.set()
            await two.registry.idle()


class Held:
    """The source `held` of a replica, which is not to be had until it is let go."""

    def __init__(self, of: Replica, held: str) -> None:
        self.is_there, self.go = threading.Event(), threading.Event()
        local = of.artifacts.local

        def wait(source: str, digest: str | None = None) -> str:
            if source == held:
                self.is_there.set()
                assert self.go.wait(30)
            return local(source, digest)

        of.artifacts.local = wait  # type: ignore[method-assign]


async def test_of_two_replicas_that_promote_at_once_one_comes_first(url: str) -> None:
    with opened(url) as ours, opened(url) as theirs:
        async with replica(ours) as one, replica(theirs) as two:
            await one.registry.register("m", "2", "ops")
            await two.registry.register("m", "3", "ops")
            both = await asyncio.gather(forced(one, "2"), forced(two, "3"), return_exceptions=True)
            changes = (await one.registry.history("m")).changes
            champion = [c.version for c in changes if c.alias == CHAMPION]
            won = [c for c in both if not isinstance(c, BaseException)]
            assert champion == ["1", *(c.version for c in sorted(won, key=lambda c: c.at))]
            for each in (one, two):
                await each.until(champion[-1])


async def test_replicas_that_start_together_agree_on_the_first_champion(url: str) -> None:
    with opened(url) as ours, opened(url) as theirs:
        async with replica(ours, None) as one, replica(theirs, None) as two:
            await asyncio.gather(
                one.registry.adopt(ModelSpec("m", "1")), two.registry.adopt(ModelSpec("m", "2"))
            )
            champion = (await one.registry.history("m")).aliases[CHAMPION]
            for each in (one, two):
                await each.until(champion)


async def test_without_the_database_serving_goes_on_and_is_told_once(
    postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = postgres_server.new_database()
    with (
        opened(url) as ours,
        opened(url) as theirs,
        caplog.at_level(logging.INFO, "guerdon_service.registry"),
    ):
        async with replica(ours) as one, replica(theirs) as two:
            await one.registry.register("m", "2", "ops")
            await two.until("2", "m@candidate")
            postgres_server.kill()
            try:
                with pytest.raises(NotReady):
                    await one.registry.promote(PromoteQuery("m", "2", "ops", override_reason="now"))
                for i in range(100):
                    assert await one.ask(response=f"answer {i}") == "1"
                    assert await two.ask("m@2", f"answer {i}") == "2"
                assert one.service.is_ready()
                outages = [r for r in caplog.records if "does not answer" in r.message]
                assert len(outages) <= 2, "each of two replicas tells it once"
            finally:
                postgres_server.start()
            await forced(one, "2")
            await two.until("2")


async def test_a_version_that_cannot_be_loaded_leaves_the_one_before_serving(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    with opened(url) as ours, opened(url) as theirs:
        async with replica(ours) as one, replica(theirs) as two:
            two.artifacts.local = _refuse  # type: ignore[method-assign]
            await one.registry.register("m", "2", "ops")
            await forced(one, "2")
            await one.registry.register("other", "3", "ops")
            async with asyncio.timeout(30):
                while sum("cannot be served" in r.message for r in caplog.records) < 2:
                    assert await two.ask() == "1"
            assert two.service.is_ready()
            await one.registry.rollback("m", CHAMPION, "ops", "worse")
            assert await one.ask() == await two.ask() == "1"


def _refuse(source: str, digest: str | None = None) -> str:
    raise NotReady("the bucket is away")


async def test_a_version_that_could_not_be_loaded_is_tried_again_later(database: Database) -> None:
    now, tries = [0.0], 0
    async with replica(database, follows=False) as one, empty_service() as service:
        await one.registry.register("m", "2", "ops")
        await forced(one, "2")
        artifacts = FakeArtifacts()
        loader = Loader(service.catalog, artifacts, TEMPLATE)
        follower = Follower(SqlRegistryStore(database), service.catalog, loader, clock=lambda: now[0])

        def refuse(source: str, digest: str | None = None) -> str:
            nonlocal tries
            tries += 1
            return _refuse(source, digest)

        artifacts.local = refuse  # type: ignore[method-assign]
        for at, expected in ((0.0, 1), (RETRY_S - 1.0, 1), (RETRY_S, 2)):
            now[0] = at
            await follower.sync()
            await follower.idle()
            assert tries == expected
        artifacts.local = FakeArtifacts().local  # type: ignore[method-assign]
        now[0] = 3 * RETRY_S
        await follower.sync()
        await follower.idle()
        await follower.sync()
        assert await Replica(service, one.registry, artifacts).ask() == "2"


class SlowStore(SqlRegistryStore):
    """Holds what it read of the aliases until it is let go."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.has_read, self.go = threading.Event(), threading.Event()

    def aliases(self) -> Mapping[tuple[str, str], str]:
        found = super().aliases()
        self.has_read.set()
        assert self.go.wait(30)
        return found


async def test_what_was_read_before_a_promotion_does_not_undo_it(tmp_path: Path) -> None:
    with opened(f"sqlite:///{tmp_path / 'state.db'}") as database:
        store = SlowStore(database)
        store.go.set()
        async with empty_service() as service:
            stores = store, SqlEvaluationStore(database)
            registry = Registry(*stores, service.catalog, FakeArtifacts(), TEMPLATE)
            one = Replica(service, registry, FakeArtifacts())
            await registry.adopt(ModelSpec("m", "1"))
            await registry.register("m", "2", "ops")
            store.go.clear()
            store.has_read.clear()
            polling = asyncio.create_task(registry.sync())
            assert await asyncio.to_thread(store.has_read.wait, 30)
            promoting = asyncio.create_task(forced(one, "2"))
            await asyncio.wait({promoting}, timeout=0.3)  # enough to overtake, if anything lets it
            store.go.set()
            await asyncio.gather(polling, promoting)
            assert await one.ask() == "2"


async def test_a_policy_is_kept_and_not_loaded_as_a_reward_model(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    async with replica(database, follows=False) as one:
        one.artifacts.kind = "policy"
        for version in ("7", "8"):
            made = await one.registry.register("writer", version, "ops")
            assert made.kind == "policy"
            await one.registry.sync()
        await one.registry.promote(PromoteQuery("writer", "8", "ops", override_reason="by hand"))
        await one.registry.sync()
        assert (await one.registry.history("writer")).aliases[CHAMPION] == "8"
        assert {info.name for info in one.service.models()} == {"m"}
    assert not caplog.records


async def test_what_was_unloaded_here_stays_unloaded_until_its_alias_moves(database: Database) -> None:
    async with replica(database, follows=False) as one:
        await one.registry.register("m", "2", "ops")
        await one.registry.sync()
        await one.service.unload_model("m")
        await one.registry.sync()
        assert one.service.models() == ()
        await forced(one, "2")
        assert await one.ask() == "2"
