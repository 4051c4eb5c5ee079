"""Versions that are loaded, and kept, while somebody works with them: no alias may stand at them yet."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.errors import GuerdonError
from guerdon_service.core.registry import ModelVersion
from guerdon_service.registry.loader import Loader
from guerdon_service.registry.retire import Retirement
from guerdon_service.scoring.catalog import Catalog


class Holder:
    """Loads versions for who works with them on one replica."""

    def __init__(self, catalog: Catalog, loader: Loader, retirement: Retirement) -> None:
        self._catalog = catalog
        self._loader = loader
        self._retirement = retirement

    @asynccontextmanager
    async def loaded(
        self, version: ModelVersion, like: ModelSpec | None = None, *, forgets: bool = False
    ) -> AsyncIterator[None]:
        """Entered once the version answers here; it is kept until this is left.

        Args:
            like: how to run it, where its name is not served yet.
            forgets: one that is refused is listed no more: who asked for it is told why.

        Raises:
            GuerdonError: it cannot be loaded.
        """
        with self._retirement.holding(version):
            if forgets:  # who gives up waiting leaves the load behind, and what is to be done when it fails
                await asyncio.shield(self._ensure_or_forget(version, like))
            else:
                await self._loader.ensure(version, like)
            yield

    async def _ensure_or_forget(self, version: ModelVersion, like: ModelSpec | None) -> None:
        try:
            await self._loader.ensure(version, like)
        except Exception:
            await self._forget(f"{version.name}@{version.version}")
            raise

    async def _forget(self, reference: str) -> None:
        """Let a version that was refused go, unless it is being loaded again.

        One that is loaded, and whose back end is at fault, has a digest: it may come back.
        """
        with suppress(GuerdonError):
            found = self._catalog.info(reference)
            if found.state == "failed" and not found.digest:
                await self._catalog.unload(reference)
