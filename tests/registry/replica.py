"""One replica of the service over fake versions, with its registry; several may share a database."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from guerdon_service.cache.tiered import open_cache
from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import InvalidInput, NotReady, UnknownModel
from guerdon_service.core.limits import Limits
from guerdon_service.core.manifest import Kind, Manifest
from guerdon_service.core.ports import NullObserver
from guerdon_service.core.query import Options, ScoreQuery
from guerdon_service.registry.loader import MissingArtifact
from guerdon_service.registry.policy import GatePolicy
from guerdon_service.registry.registry import Registry
from guerdon_service.scoring.catalog import Catalog
from guerdon_service.scoring.service import ScoringService
from guerdon_service.state.database import Database
from guerdon_service.state.evaluation_store import SqlEvaluationStore
from guerdon_service.state.registry_store import SqlRegistryStore
from tests.fakes import manifest
from tests.registry.versions import load_versions, reward_of

POLL_S = 0.01
TEMPLATE = ModelSpec("template", "")


@dataclass
class FakeArtifacts:
    """Sources are version numbers, or folders named by them; `changed` ones have another digest than they
    had, by source, and `gone` ones are no more.
    """

    changed: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    kind: Kind = "reward"

    def absolute(self, source: str) -> str:
        return source

    def admit(self, source: str) -> str:
        return source

    def local(self, source: str, digest: str | None = None) -> str:
        if source in self.gone:
            raise MissingArtifact(f"source {source} is gone", param="source")
        return source

    def read(self, source: str, name: str) -> Manifest:
        version = Path(source).name
        if not version.isdecimal():
            raise InvalidInput(f"source {source!r} is no number", param="source")
        digest = self.changed.get(source, f"digest-{version}")
        return manifest(name, version=version, digest=digest, kind=self.kind)

    def card(self, source: str, digest: str) -> str | None:
        if source in self.gone:
            raise InvalidInput(f"source {source} is gone", param="source")
        return None if source == "1" else f"# Version {source}"


@dataclass(frozen=True)
class Replica:
    service: ScoringService
    registry: Registry
    artifacts: FakeArtifacts

    async def ask(self, model: str | None = "m", response: str = "because") -> str:
        """The version that answers, after a look at its score and digest."""
        query = ScoreQuery((Conversation.of("why?", response),), Options(model=model))
        result = await self.service.score(query)
        version = result.model.version
        assert result.model.digest == f"digest-{version}"
        assert result.scores[0].reward == reward_of(version, response)
        return version

    async def until(self, version: str, model: str | None = "m") -> None:
        """Return once that version answers."""
        found = ""
        async with asyncio.timeout(30):
            while found != version:
                with suppress(UnknownModel, NotReady):  # it may have to be loaded first
                    found = await self.ask(model)
                await asyncio.sleep(POLL_S)


@asynccontextmanager
async def with_registry(
    service: ScoringService, database: Database, *, policy: GatePolicy | None = None, follows: bool = True
) -> AsyncIterator[Replica]:
    """A running service as a replica that follows `database`."""
    artifacts = FakeArtifacts()
    stores = SqlRegistryStore(database), SqlEvaluationStore(database)
    registry = Registry(*stores, service.catalog, artifacts, TEMPLATE, policy=policy)
    following = asyncio.create_task(registry.follow(POLL_S) if follows else asyncio.sleep(0))
    try:
        yield Replica(service, registry, artifacts)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


@asynccontextmanager
async def replica(
    database: Database, configured: str | None = "1", **options: object
) -> AsyncIterator[Replica]:
    """A service of its own whose settings name version `configured` of model ``m``."""
    async with (
        empty_service() as service,
        with_registry(service, database, **options) as made,  # type: ignore[arg-type]
    ):
        if configured is not None:
            await made.registry.adopt(ModelSpec("m", configured))
        yield made


@asynccontextmanager
async def empty_service() -> AsyncIterator[ScoringService]:
    """A service without models."""
    limits, observer = Limits(), NullObserver()
    catalog = Catalog(load_versions, limits, open_cache(observer), ThreadPoolExecutor(2), observer)
    service = ScoringService(catalog, limits, observer)
    try:
        yield service
    finally:
        await service.close()
