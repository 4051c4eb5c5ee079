"""Every name of the registry, loaded or not: the same in process, over REST and over gRPC."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
import pytest_asyncio

import guerdon
from guerdon import AsyncClient, Client, RegisteredModel
from guerdon_service.app.listen import listening
from guerdon_service.app.metrics import PrometheusObserver
from guerdon_service.app.settings import Settings
from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.auth import Keyring
from guerdon_service.core.errors import NotReady
from guerdon_service.registry.registry import Registry
from guerdon_service.state.database import open_database
from guerdon_service.state.evaluation_store import SqlEvaluationStore
from guerdon_service.state.registry_store import SqlRegistryStore
from tests.domain_fakes import services_of
from tests.fakes import running_service
from tests.registry.replica import TEMPLATE, FakeArtifacts
from tests.registry.versions import load_versions

EXPECTED = (
    RegisteredModel("m", "reward", {"candidate": "2", "champion": "1"}),
    RegisteredModel("writer", "policy", {"champion": "7"}),
)


@dataclass(frozen=True)
class Registered:
    """A registry of two names, none of which is loaded, and where a service answers for it."""

    registry: Registry
    urls: tuple[str, str]


@pytest_asyncio.fixture
async def registered(tmp_path: Path) -> AsyncIterator[Registered]:
    database = open_database(f"sqlite:///{tmp_path / 'state.db'}")
    settings, artifacts = Settings(port=0, grpc_port=0), FakeArtifacts()
    async with running_service(ModelSpec("other", "1"), load=load_versions) as service:
        stores = SqlRegistryStore(database), SqlEvaluationStore(database)
        registry = Registry(*stores, service.catalog, artifacts, TEMPLATE)
        for source in ("1", "2"):
            await registry.register("m", source, "ops")
        artifacts.kind = "policy"
        await registry.register("writer", "7", "ops")
        await service.unload_model("m")
        services = services_of(service, registrar=registry)
        async with listening(services, settings, auth=Keyring(), observer=PrometheusObserver()) as at:
            yield Registered(registry, (f"http://127.0.0.1:{at.port}", f"grpc://127.0.0.1:{at.grpc_port}"))
    database.close()


async def test_all_names_are_listed_by_every_way_in(registered: Registered) -> None:
    in_process = await registered.registry.models()
    assert [asdict(model) for model in in_process] == [asdict(model) for model in EXPECTED]
    for url in registered.urls:
        async with AsyncClient(url) as client:
            assert await client.registered_models() == EXPECTED
            assert [model.name for model in await client.models()] == ["other"]
        assert await asyncio.to_thread(listed_without_await, url) == EXPECTED


def listed_without_await(url: str) -> tuple[RegisteredModel, ...]:
    with Client(url) as client:
        return client.registered_models()


async def test_a_registry_that_does_not_answer_is_not_an_empty_one(
    registered: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(store: SqlRegistryStore) -> None:
        raise NotReady("the registry does not answer; ask again")

    monkeypatch.setattr(SqlRegistryStore, "models", gone)
    for url in registered.urls:
        async with AsyncClient(url, max_retries=0) as client:
            with pytest.raises(guerdon.NotReady):
                await client.registered_models()
