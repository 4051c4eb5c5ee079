"""Versions that nobody needs are unloaded; those that somebody needs are not."""

import asyncio
import threading
from pathlib import Path

import pytest

from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.errors import GuerdonError, InvalidInput, UnknownModel
from guerdon_service.core.evaluation import Evaluation, EvaluationQuery
from guerdon_service.core.manifest import Manifest
from guerdon_service.core.registry import CHAMPION, PromoteQuery
from guerdon_service.engine.engine import Engine
from guerdon_service.registry.registry import Registry
from guerdon_service.state.database import Database
from guerdon_service.state.evaluation_store import SqlEvaluationStore
from guerdon_service.state.registry_store import SqlRegistryStore
from tests.registry.replica import TEMPLATE, FakeArtifacts, Replica, empty_service, replica
from tests.registry.test_following import opened
from tests.registry.test_registry import forced


async def loaded(on: Replica, name: str = "m") -> set[str]:
    """Versions that are in memory once nothing is being loaded or unloaded."""
    await on.registry.idle()
    return {info.version for info in on.service.models() if info.name == name}


def evaluation_of(candidate: str, baseline: str) -> Evaluation:
    query = EvaluationQuery(candidate, "pairs.jsonl", baseline)
    return Evaluation("e1", "queued", query, candidate, "c", baseline, "b", "s" * 64, 0, 0, 0.0)


async def test_a_candidate_each_night_fills_no_memory(database: Database) -> None:
    async with replica(database, follows=False) as one:
        for version in range(2, 9):
            await one.registry.register("m", str(version), "nightly")
            assert await loaded(one) == {"1", str(version)}
        assert await one.ask() == "1" and await one.ask("m@candidate") == "8"
        with pytest.raises(UnknownModel):
            await one.ask("m@2")
        async with one.registry.keep_loaded("m", "2"):
            assert await one.ask("m@2") == "2", "it is registered, and loads when somebody needs it"
            await one.registry.register("m", "9", "nightly")
            assert await loaded(one) == {"1", "2", "9"}, "and stays as long"
        assert await loaded(one) == {"1", "9"}, "and no longer"


async def test_who_wants_a_version_whose_folder_is_gone_is_not_told_where_it_was(database: Database) -> None:
    async with replica(database, follows=False) as one:
        await one.registry.register("m", "secret/2", "nightly")
        await one.registry.register("m", "3", "nightly")
        assert await loaded(one) == {"1", "3"}
        one.artifacts.gone.add("secret/2")
        with pytest.raises(UnknownModel, match="artifact of m@2 is not where it was") as refused:
            async with one.registry.keep_loaded("m", "2"):
                pass
        assert (refused.value.param, "secret" in refused.value.message) == ("version", False)
        assert await loaded(one) == {"1", "3"}


async def test_who_wants_a_version_that_is_refused_is_told_so_and_not_where_it_lies(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with replica(database, follows=False) as one:
        for version in ("2", "3"):
            await one.registry.register("m", version, "nightly")
        assert await loaded(one) == {"1", "3"}
        monkeypatch.setattr(one.artifacts, "local", lambda *_: "secret/folder")
        with pytest.raises(InvalidInput, match="artifact of m@2 is refused where it is loaded") as refused:
            async with one.registry.keep_loaded("m", "2"):
                pass
        assert (refused.value.param, "secret" in refused.value.message) == ("model", False)
        assert await loaded(one) == {"1", "3"}, "and it is not listed as failed"


@pytest.mark.parametrize("version", ["1", "2", "3"])
async def test_what_an_alias_needs_stays_when_nobody_works_with_it(database: Database, version: str) -> None:
    async with replica(database, follows=False) as one:
        await one.registry.register("m", "2", "ops")
        await forced(one, "2")
        await one.registry.register("m", "3", "ops")
        async with one.registry.keep_loaded("m", version):
            pass
        assert await loaded(one) == {"1", "2", "3"}, "the version before, the champion and the candidate"


async def test_a_version_of_the_settings_stays_when_nobody_works_with_it(database: Database) -> None:
    async with replica(database, follows=False) as one:
        for version in ("2", "3", "4", "5"):
            await one.registry.register("m", version, "ops")
        assert await loaded(one) == {"1", "5"}
        await one.registry.adopt(ModelSpec("m", "2"))
        async with one.registry.keep_loaded("m", "3"):
            await one.registry.adopt(ModelSpec("m", "3"))
        for version in ("2", "4"):
            async with one.registry.keep_loaded("m", version):
                pass
            assert await loaded(one) == {"1", "2", "3", "5"}, "4 was loaded for this alone"
        await one.registry.register("m", "6", "ops")
        assert await loaded(one) == {"1", "2", "3", "6"}, "5 was nobody's but its alias's"


async def test_one_whose_back_end_is_at_fault_stays_though_it_is_asked_for_in_vain(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may come back, and its artifact, which is gone, may not."""
    async with replica(database, follows=False) as one:
        await one.registry.register("m", "2", "ops")
        await one.registry.adopt(ModelSpec("m", "2"))
        await one.registry.register("m", "3", "ops")
        one.artifacts.gone.add("2")
        with monkeypatch.context() as at_fault:
            at_fault.setattr(Engine, "is_healthy", False)
            with pytest.raises(GuerdonError):
                async with one.registry.keep_loaded("m", "2"):
                    pass
        assert await one.ask("m@2") == "2"


async def test_a_version_of_the_settings_stays_whatever_is_followed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    with opened(url) as ours, opened(url) as theirs:
        async with replica(ours, follows=False) as one:
            for version in ("2", "3"):
                await one.registry.register("m", version, "ops")
            async with replica(theirs, "2", follows=False) as two:
                assert await loaded(two) == {"1", "2", "3"}, "the candidate came after it"
                await one.registry.register("m", "4", "ops")
                await forced(one, "4")
                await two.registry.sync()  # begins to load it
                await two.registry.idle()
                await two.registry.sync()  # flips
                assert await loaded(two) == {"1", "2", "4"} and await two.ask() == "4"


async def test_what_was_loaded_for_one_goes_when_the_last_has_worked_with_it(database: Database) -> None:
    store = SqlEvaluationStore(database)
    async with replica(database, follows=False) as one:
        for version in ("2", "3"):
            await one.registry.register("m", version, "ops")
        assert await loaded(one) == {"1", "3"}
        async with one.registry.keep_loaded("m", "2"):  # who starts an evaluation
            store.create(evaluation_of("m@2", "m@1"))
        assert await loaded(one) == {"1", "2", "3"}, "it is open"
        async with one.registry.keep_loaded("m", "2"):  # who works on it, here
            store.cancel("e1")
        assert await loaded(one) == {"1", "3"}


async def test_what_an_alias_left_goes_when_nobody_works_with_it_any_more(database: Database) -> None:
    async with replica(database, follows=False) as one:
        await one.registry.register("m", "2", "ops")
        async with one.registry.keep_loaded("m", "2"):
            await one.registry.register("m", "3", "ops")
            assert await loaded(one) == {"1", "2", "3"}
        assert await loaded(one) == {"1", "3"}


async def test_who_asks_for_a_version_that_was_let_go_is_told_what_keeps_one(database: Database) -> None:
    told = (
        r"^version 2 of m is registered, and not loaded as no alias keeps it: guerdon models promote m 2 "
        r"--alias NAME --override WHY does; loaded versions of m are: 1 \(champion\), 3 \(candidate\)$"
    )
    async with replica(database, follows=False) as one:
        for version in ("2", "3"):
            await one.registry.register("m", version, "nightly")
        assert await loaded(one) == {"1", "3"}
        with pytest.raises(UnknownModel, match=told):
            await one.ask("m@2")
        with pytest.raises(UnknownModel, match="'m@9' is not loaded; loaded versions of m are: 1"):
            await one.ask("m@9")
        asked = PromoteQuery("m", "2", "ops", alias="kept", override_reason="asked for by its version")
        await one.registry.promote(asked)
        assert await one.ask("m@2") == "2"
        await one.registry.remove_alias("m", "kept", "ops", "no longer asked for")
        await loaded(one)
    async with replica(database, follows=False) as restarted:
        await restarted.registry.catch_up()
        await restarted.registry.idle()
        await restarted.registry.sync()  # candidates come later
        with pytest.raises(UnknownModel, match=told):
            await restarted.ask("m@2")


async def test_the_version_before_stays_to_be_rolled_back_to_at_once(database: Database) -> None:
    async with replica(database, None, follows=False) as one:
        await one.registry.register("m", "1", "ops")
        for version in ("2", "3"):
            await one.registry.register("m", version, "ops")
            await forced(one, version)
        assert await loaded(one) == {"2", "3"}
        await one.registry.rollback("m", CHAMPION, "ops", "worse")
        assert await loaded(one) == {"2", "3"}, "3 is the candidate still"
        await one.registry.rollback("m", CHAMPION, "ops", "worse")
        assert await loaded(one) == {"1", "3"} and await one.ask() == "1"


async def test_what_an_open_evaluation_is_about_stays(database: Database) -> None:
    store = SqlEvaluationStore(database)
    async with replica(database, follows=False) as one:
        await one.registry.register("m", "2", "ops")
        store.create(evaluation_of("m@2", "m@1"))
        await one.registry.register("m", "3", "ops")
        assert await loaded(one) == {"1", "2", "3"}
        store.cancel("e1")
        await one.registry.register("m", "4", "ops")
        assert await loaded(one) == {"1", "4"}


async def test_a_member_of_an_ensemble_stays(database: Database) -> None:
    async with replica(database, follows=False) as one:
        await one.registry.register("m", "2", "ops")
        await one.registry.load(ModelSpec("both", "", members=("m@1", "m@2")), "ops")
        await one.registry.register("m", "3", "ops")
        assert await loaded(one) == {"1", "2", "3"}


async def test_other_replicas_let_it_go_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    with opened(url) as ours, opened(url) as theirs:
        async with replica(ours, follows=False) as one, replica(theirs, follows=False) as two:
            for version in ("2", "3"):
                await one.registry.register("m", version, "ops")
                await two.registry.sync()  # begins to load it
                await two.registry.idle()
                await two.registry.sync()  # flips
            assert await loaded(two) == {"1", "3"}


class Pausing(FakeArtifacts):
    """Holds whoever reads version 2 until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.is_reading, self.go = threading.Event(), threading.Event()

    def read(self, source: str, name: str) -> Manifest:
        if source == "2":
            self.is_reading.set()
            assert self.go.wait(30)
        return super().read(source, name)


async def test_a_version_stays_while_the_gate_looks_at_it(database: Database) -> None:
    artifacts = Pausing()
    artifacts.go.set()
    async with empty_service() as service:
        stores = SqlRegistryStore(database), SqlEvaluationStore(database)
        one = Replica(service, Registry(*stores, service.catalog, artifacts, TEMPLATE), artifacts)
        await one.registry.adopt(ModelSpec("m", "1"))
        for version in ("2", "3"):
            await one.registry.register("m", version, "ops")
        assert await loaded(one) == {"1", "3"}
        artifacts.go.clear()
        artifacts.is_reading.clear()
        promoting = asyncio.create_task(forced(one, "2"))
        assert await asyncio.to_thread(artifacts.is_reading.wait, 30)
        await one.registry.register("m", "4", "ops")
        assert await loaded(one) == {"1", "2", "4"}
        artifacts.go.set()
        await promoting
        assert await one.ask() == "2"
