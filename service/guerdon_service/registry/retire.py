"""Versions that nobody needs any more are let go: a new candidate each night would fill the memory."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from guerdon_service.core.errors import GuerdonError, NotReady
from guerdon_service.core.evaluation import EvaluationStore
from guerdon_service.core.registry import ModelHistory, ModelVersion, RegistryStore
from guerdon_service.registry.rules import needed_versions
from guerdon_service.scoring.catalog import Catalog

log = logging.getLogger(__name__)


class Retirement:
    """Unloads versions of one replica that nothing needs. They stay registered, and load when needed."""

    def __init__(self, store: RegistryStore, evaluations: EvaluationStore, catalog: Catalog) -> None:
        self._store = store
        self._evaluations = evaluations
        self._catalog = catalog
        self._held: Counter[tuple[str, str]] = Counter()
        self._lent: set[tuple[str, str]] = set()
        self._pinned: set[tuple[str, str]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @contextmanager
    def holding(self, version: ModelVersion) -> Iterator[None]:
        """Keep a version that was loaded for something that no alias tells of yet."""
        key = (version.name, version.version)
        self._held[key] += 1
        try:
            yield
        finally:
            self._held[key] -= 1

    def lend(self, version: ModelVersion) -> None:
        """Who works with it loads it now, several at a time perhaps; see `begin_lent`."""
        if not self._catalog.is_loaded(version.name, version.version):
            self._lent.add((version.name, version.version))

    def keep(self, version: ModelVersion) -> None:
        """It was asked for by itself: it stays until an alias moves, though somebody may have it on loan."""
        self._lent.discard((version.name, version.version))

    def pin(self, version: ModelVersion) -> None:
        """The settings name it: it stays wherever aliases move, as the next start would load it again."""
        self._pinned.add((version.name, version.version))

    def begin_lent(self, version: ModelVersion) -> None:
        """Retire a version that was loaded for who worked with it, or that an alias left meanwhile."""
        if (version.name, version.version) in self._lent:
            self._begin(version.name, {version.version})

    def begin(self, name: str) -> None:
        """Retire what a move of an alias of `name` left behind; its queue may take a while to empty."""
        self._begin(name)

    def _begin(self, name: str, only: set[str] | None = None) -> None:
        task = asyncio.create_task(self._retire(name, only))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def idle(self) -> None:
        """Return once everything that was begun has ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def tell_registered(self) -> None:
        """Let the catalog know every registered version: after a start most are not loaded.

        Raises:
            NotReady: the registry does not answer.
        """
        for model in await asyncio.to_thread(self._store.models):
            self._tell(await asyncio.to_thread(self._store.history, model.name))

    def _tell(self, history: ModelHistory) -> None:
        self._catalog.know(history.name, (version.version for version in history.versions))

    async def _retire(self, name: str, only: set[str] | None) -> None:
        try:
            history = await asyncio.to_thread(self._store.history, name)
            needed = needed_versions(history, await asyncio.to_thread(self._evaluations.all))
        except NotReady:
            return  # the next move will do it
        self._tell(history)
        if only is None:  # what an alias left, and is worked with still, goes after that
            aliased = needed_versions(history, ())
            self._lent |= {(name, v.version) for v in history.versions if v.version not in aliased}
        needed |= {version for pinned, version in self._pinned if pinned == name}
        registered = {version.version for version in history.versions} - needed
        candidates = registered if only is None else registered & only
        for info in self._catalog.infos():
            is_idle = info.state != "loading" and not self._held[name, info.version]
            if info.name == name and info.version in candidates and is_idle:
                with suppress(GuerdonError):  # an alias here, or an ensemble, has it still
                    await self._catalog.unload(f"{name}@{info.version}")
                    log.info("version unloaded", extra={"model": f"{name}@{info.version}"})
