"""A replica does what the registry says: it loads what aliases point at, and flips when it is ready."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Set
from math import inf
from typing import TypeVar

from guerdon_service.core.errors import GuerdonError, NotReady
from guerdon_service.core.registry import CHAMPION, RegistryStore
from guerdon_service.registry.loader import Loader
from guerdon_service.registry.rules import find_version
from guerdon_service.scoring.catalog import Catalog

POLL_S = 0.25
"""How often the registry is asked, in seconds."""
RETRY_S = 30.0
"""How long a version that could not be loaded is left alone, in seconds."""

log = logging.getLogger(__name__)

T = TypeVar("T")

Alias = tuple[str, str]
"""Name of a model, name of an alias of it."""


class Follower:
    """Keeps the aliases of one catalog where a registry has them."""

    def __init__(
        self,
        store: RegistryStore,
        catalog: Catalog,
        loader: Loader,
        clock: Callable[[], float] = time.monotonic,
        on_left: Callable[[str], None] = lambda name: None,
    ) -> None:
        """`on_left` is told the name of a version that an alias no longer stands at here."""
        self._store = store
        self._catalog = catalog
        self._loader = loader
        self._clock = clock
        self._on_left = on_left
        self.lock = asyncio.Lock()
        """Held from reading or writing an alias to flipping it: what was read earlier never undoes a flip."""
        self._followed: dict[Alias, str] = {}
        self._retry_at: dict[tuple[str, str], float] = {}
        self._champions: set[tuple[str, str]] = set()
        self._loads: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def run(self, poll_s: float = POLL_S) -> None:
        """Follow until cancelled. Without a registry, serving goes on with what is loaded."""
        is_reachable = True
        try:
            while True:
                try:
                    await self.sync()
                    if not is_reachable:
                        log.info("the registry answers again")
                    is_reachable = True
                except Exception as err:  # whatever it is, it must not end the following
                    if is_reachable:
                        log.warning(
                            "the registry does not answer; serving what is loaded",
                            extra={"reason": str(err.__cause__ or err)},
                            exc_info=not isinstance(err, NotReady),
                        )
                    is_reachable = False
                await asyncio.sleep(poll_s)
        finally:
            for task in self._loads.values():
                task.cancel()

    async def sync(self) -> None:
        """Flip to what is loaded; begin to load what is not, without waiting for it.

        Raises:
            NotReady: the registry does not answer.
        """
        async with self.lock:
            aliases = await _to_its_end(self._store.aliases)
            self._champions = {(name, v) for (name, alias), v in aliases.items() if alias == CHAMPION}
            news = {alias: version for alias, version in aliases.items() if self._is_news(alias, version)}
            moved = {a: v for a, v in news.items() if self._catalog.is_loaded(a[0], v)}
            left = {alias[0] for alias in moved if alias in self._catalog.aliases()}
            self.point(moved)
            removed = {a for a in self._catalog.aliases() if a[1] != CHAMPION and a not in aliases}
            left |= {alias[0] for alias in removed}
            self.drop(removed)
            served = self._catalog.aliases()
            self._followed |= {a: v for a, v in aliases.items() if served.get(a) == v}
        for name in left:
            self._on_left(name)
        for (name, _), version in news.items():
            if not self._catalog.is_loaded(name, version):
                self._begin(name, version)

    def point(self, moved: Mapping[Alias, str]) -> None:
        """Flip aliases to versions that are loaded; a name that is unloaded from now on stays so."""
        self._catalog.point(moved)
        self._followed |= moved

    def drop(self, removed: Set[Alias]) -> None:
        """Forget aliases; a champion is never removed, and one that is loading stands in no registry yet."""
        self._catalog.drop(removed)
        self._followed = {alias: version for alias, version in self._followed.items() if alias not in removed}

    async def resume(self, name: str) -> None:
        """Follow a name again that was unloaded here, and all others.

        Raises:
            NotReady: the registry does not answer.
        """
        self._followed = {alias: version for alias, version in self._followed.items() if alias[0] != name}
        await self.sync()

    async def champions(self) -> None:
        """Flip every champion once its version is loaded or refused; what is loaded besides goes on.

        Raises:
            NotReady: the registry does not answer.
        """
        await self.sync()
        while loads := [self._loads[version] for version in self._champions if version in self._loads]:
            await asyncio.wait(loads, return_when=asyncio.FIRST_COMPLETED)
            await self.sync()

    async def idle(self) -> None:
        """Return once every load that was begun has ended."""
        while self._loads:
            await asyncio.wait(self._loads.values())

    def _is_news(self, alias: Alias, version: str) -> bool:
        """A name that was unloaded here stays so until its alias moves."""
        served = self._catalog.aliases().get(alias)
        return served != version and (served is not None or self._followed.get(alias) != version)

    def _begin(self, name: str, version: str) -> None:
        now = self._clock()
        if self._retry_at.get((name, version), -inf) <= now:
            self._retry_at[name, version] = now + RETRY_S
            task = self._loads[name, version] = asyncio.create_task(self._load(name, version))
            task.add_done_callback(lambda _: self._loads.pop((name, version)))

    async def _load(self, name: str, version: str) -> None:
        try:
            history = await asyncio.to_thread(self._store.history, name)
            found = find_version(history.versions, version)
            assert found is not None, "aliases point at registered versions"
            await self._loader.ensure(found)
            self._retry_at[name, version] = inf if found.kind != "reward" else -inf
            self._on_left(name)  # its alias may have gone, or moved on, meanwhile
        except GuerdonError as err:
            log.error(
                "a version that the registry points at cannot be served; the one before it goes on",
                extra={"model": f"{name}@{version}", "reason": err.message, "retry_s": RETRY_S},
            )


async def _to_its_end(read: Callable[[], T]) -> T:
    """`read` in a thread; who is cancelled meanwhile waits for it, because nobody else would."""
    reading = asyncio.ensure_future(asyncio.to_thread(read))
    try:
        return await asyncio.shield(reading)
    except asyncio.CancelledError:
        await asyncio.wait([reading])
        raise
