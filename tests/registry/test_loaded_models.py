"""Models that are loaded while the service runs, or start from another folder than before."""

import asyncio
import threading
from dataclasses import replace

import pytest

from guerdon_service.core.artifact import LoadedModel, ModelSpec
from guerdon_service.core.errors import InvalidInput, UnknownModel
from guerdon_service.core.registry import ModelVersion
from guerdon_service.registry.loader import Loader
from guerdon_service.registry.registry import Registry
from guerdon_service.state.database import Database
from guerdon_service.state.evaluation_store import SqlEvaluationStore
from guerdon_service.state.registry_store import SqlRegistryStore
from tests.contract.harness import Served, served
from tests.registry.replica import POLL_S, TEMPLATE, FakeArtifacts, empty_service, replica, with_registry
from tests.registry.versions import load_versions


async def test_a_model_that_was_loaded_over_rest_is_registered_and_its_successor_meets_the_gate(
    database: Database,
) -> None:
    async with served(ModelSpec("other", "1"), load=load_versions) as it:
        stores = SqlRegistryStore(database), SqlEvaluationStore(database)
        registry = Registry(*stores, it.service.catalog, FakeArtifacts(), TEMPLATE)
        object.__setattr__(it.services, "registrar", registry)
        loaded = await it.rest.post("/v1/models", json={"name": "m", "source": "1"})
        assert (loaded.status_code, loaded.json()["aliases"]) == (201, ["champion"])
        assert (await it.rest.post("/v1/models/m/versions", json={"source": "2"})).status_code == 201
        assert await champion(it) == "1", "nothing but the gate lets a version answer callers"
        history = await registry.history("m")
        assert [(v.version, v.registered_by) for v in history.versions] == [
            ("1", "anonymous"),
            ("2", "anonymous"),
        ]
        refused = await it.rest.post("/v1/models/m/promote", json={"version": "2"})
        assert refused.json()["error"]["code"] == "gate_refused"


async def champion(it: Served) -> str:
    body = {"model": "m", "items": [{"prompt": "why?", "response": "so"}]}
    version: str = (await it.rest.post("/v1/score", json=body)).json()["model"]["version"]
    return version


async def test_a_name_is_loaded_once_and_follows_its_champion_after_it_was_unloaded(
    database: Database,
) -> None:
    async with replica(database, follows=False) as one:
        with pytest.raises(InvalidInput, match="loaded already"):
            await one.registry.load(ModelSpec("m", "2"), "ops")
        await one.service.unload_model("m")
        info = await one.registry.load(ModelSpec("m", "2"), "ops")
        assert (info.version, info.aliases) == ("2", ())
        assert await one.ask() == "1" and await one.ask("m@2") == "2"


async def test_a_name_that_is_unloaded_as_soon_as_it_is_registered_stays_so(database: Database) -> None:
    """Before the replica has looked at the registry again."""
    async with replica(database, follows=False) as one:
        await one.registry.register("n", "1", "ops")
        await one.service.unload_model("n")
        await one.registry.sync()
        await one.registry.idle()
        assert {info.name for info in one.service.models()} == {"m"}
        assert [model.name for model in await one.registry.models()] == ["m", "n"]


async def test_what_is_refused_is_listed_no_more_and_a_good_one_takes_its_place(database: Database) -> None:
    damaged = {"2"}

    def load(spec: ModelSpec) -> LoadedModel:
        if spec.source in damaged:
            raise InvalidInput("weights are damaged", param="source")
        return load_versions(spec)

    async with served(ModelSpec("other", "1"), load=load) as it:
        stores = SqlRegistryStore(database), SqlEvaluationStore(database)
        registry = Registry(*stores, it.service.catalog, FakeArtifacts(), TEMPLATE)
        await registry.register("m", "1", "ops")
        for refused in (registry.register("m", "2", "ops"), registry.load(ModelSpec("new", "2"), "ops")):
            with pytest.raises(InvalidInput, match="damaged"):
                await refused
        assert [(i.name, i.version, i.state) for i in it.service.models()] == [
            ("other", "1", "ready"),
            ("m", "1", "ready"),
        ]
        assert b'guerdon_model_ready{model="m@2"}' not in it.observer.render(), "an alarm would never end"
        damaged.clear()
        await registry.register("m", "2", "ops")
        assert it.service.model("m@2").state == "ready"
        assert b'guerdon_model_ready{model="m@2"} 1.0' in it.observer.render()


async def test_who_gives_up_on_a_version_that_is_refused_then_leaves_nothing_behind(
    database: Database,
) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def load(spec: ModelSpec) -> LoadedModel:
        if spec.source == "2":
            entered.set()
            assert go_on.wait(30)
            raise InvalidInput("weights are damaged", param="source")
        return load_versions(spec)

    async with served(ModelSpec("other", "1"), load=load) as it:
        stores = SqlRegistryStore(database), SqlEvaluationStore(database)
        registry = Registry(*stores, it.service.catalog, FakeArtifacts(), TEMPLATE)
        asked = asyncio.create_task(registry.register("m", "2", "ops"))
        assert await asyncio.to_thread(entered.wait, 30)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert it.service.model("m@2").state == "loading"
        go_on.set()
        async with asyncio.timeout(30):
            while len(it.service.models()) > 1:
                await asyncio.sleep(POLL_S)
        assert b'guerdon_model_ready{model="m"}' not in it.observer.render()


async def test_an_ensemble_is_loaded_and_is_no_version(database: Database) -> None:
    async with replica(database) as one:
        await one.registry.register("n", "2", "ops")
        await one.registry.load(ModelSpec("both", "", members=("m", "n")), "ops")
        assert {info.name for info in one.service.models()} == {"m", "n", "both"}
        with pytest.raises(InvalidInput, match="ensemble"):
            await one.registry.register("both", "3", "ops")


async def test_an_artifact_that_moved_starts_from_where_it_lies_now(database: Database) -> None:
    async with replica(database, "old/1") as one:
        assert await one.ask() == "1"
    async with empty_service() as service, with_registry(service, database) as two:
        two.artifacts.gone.add("old/1")
        await two.registry.adopt(ModelSpec("m", "new/1"))
        assert await two.ask() == "1"
        (version,) = (await two.registry.history("m")).versions
        assert version.source == "new/1"
    async with empty_service() as service, with_registry(service, database) as three:
        three.artifacts.gone.add("old/1")
        await three.until("1")  # a replica that is not configured with it finds it, too


async def test_a_version_shows_its_card_and_nobody_is_told_where_it_lies(database: Database) -> None:
    async with replica(database) as one:
        await one.registry.register("m", "somewhere/2", "ops")
        assert await one.registry.card("m", "2") == "# Version somewhere/2"
        one.artifacts.gone.add("somewhere/2")
        for name, version, told in (
            ("m", "1", "no model card"),
            ("m", "2", "not where it was"),
            ("m", "3", "m@3 is not registered; registered are: 1, 2$"),
            ("n", "1", "'n'"),
        ):
            with pytest.raises(UnknownModel, match=told) as refused:
                await one.registry.card(name, version)
            assert "somewhere" not in refused.value.message


async def test_registering_it_again_from_elsewhere_keeps_all_but_the_source(database: Database) -> None:
    async with replica(database) as one:
        made = await one.registry.register("m", "old/2", "ops")
        again = await one.registry.register("m", "new/2", "another")
        assert (again.source, again.registered_by) == ("new/2", made.registered_by)
        assert (await one.registry.history("m")).versions[1] == again


async def test_a_name_keeps_its_kind(database: Database) -> None:
    async with replica(database) as one:
        one.artifacts.kind = "policy"
        with pytest.raises(InvalidInput, match="m is the name of a reward model") as refused:
            await one.registry.register("m", "2", "ops")
        assert refused.value.param == "name"
        await one.registry.register("writer", "3", "ops")
        one.artifacts.kind = "reward"
        with pytest.raises(InvalidInput, match="writer is the name of a policy model"):
            await one.registry.adopt(ModelSpec("writer", "4"))
        assert await one.ask() == "1"


async def test_a_load_from_where_it_lay_before_does_not_fail_one_from_where_it_lies_now() -> None:
    """A follower may have begun the one before settings, or a caller, name the other."""
    entered, go_on = threading.Event(), threading.Event()

    class Moved(FakeArtifacts):
        def local(self, source: str, digest: str | None = None) -> str:
            if source == "old/1":
                entered.set()
                assert go_on.wait(30)
            return super().local(source, digest)

    old = ModelVersion("m", "1", "digest-1", "reward", "old/1", "ops", 0.0, {})
    async with empty_service() as service:
        loader = Loader(service.catalog, Moved(gone={"old/1"}), TEMPLATE)
        follower = asyncio.create_task(loader.ensure(old))
        assert await asyncio.to_thread(entered.wait, 30)
        configured = asyncio.create_task(loader.ensure(replace(old, source="new/1")))
        await asyncio.sleep(0)  # it has found the other's load under way
        go_on.set()
        with pytest.raises(InvalidInput, match="old/1 is gone"):
            await follower
        await configured
        assert service.catalog.is_loaded("m", "1")
