"""Registered versions to loaded ones, each loaded once however many ask."""

import asyncio
from dataclasses import dataclass, replace
from typing import Protocol

from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Manifest
from guerdon_service.core.registry import ModelVersion
from guerdon_service.scoring.catalog import Catalog


class MissingArtifact(InvalidInput):
    """An artifact, or a part of it, is not on this machine now; another replica may have it, and this one
    later.
    """


class Artifacts(Protocol):
    """Where artifacts come from; `model_store.ModelStore` is the real one. All methods block."""

    def absolute(self, source: str) -> str:
        """`source` as every replica of this machine can find it."""
        ...

    def admit(self, source: str) -> str:
        """`absolute` of what a caller names; `InvalidInput` when it may not be named."""
        ...

    def local(self, source: str, digest: str | None = None) -> str:
        """A source on this machine; `MissingArtifact` where it is not, or may be damaged, and `InvalidInput`
        where it is surely not `digest`.
        """
        ...

    def read(self, source: str, name: str) -> Manifest:
        """The manifest of a local source as it is now, its digest filled."""
        ...

    def card(self, source: str, digest: str) -> str | None:
        """The model card, Markdown, of an artifact that is on this machine; None where it has none."""
        ...


@dataclass(frozen=True, slots=True)
class _Load:
    """A load under way, and where from."""

    source: str
    task: asyncio.Task[None]


class Loader:
    """Loads versions beside those that a catalog has."""

    def __init__(self, catalog: Catalog, artifacts: Artifacts, template: ModelSpec) -> None:
        """Versions of a name that is served run as that name does, others as `template` says."""
        self._catalog = catalog
        self._artifacts = artifacts
        self._template = template
        self._loads: dict[tuple[str, str], _Load] = {}

    async def ensure(self, version: ModelVersion, like: ModelSpec | None = None) -> None:
        """Return once the version answers; a policy has nothing to load.

        Args:
            like: how to run it, where its name is not served yet.

        Raises:
            GuerdonError: its artifact cannot be had, is another than registered, or is refused.
        """
        key = (version.name, version.version)
        while version.kind == "reward" and not self._catalog.is_loaded(*key):
            load = self._loads.get(key) or self._begin(version, like)
            if load.source == version.source:
                await asyncio.shield(load.task)  # who gives up waiting does not stop it for the others
                return
            await asyncio.wait([load.task])  # from where it lay before: its failure says nothing of this one

    def _begin(self, version: ModelVersion, like: ModelSpec | None) -> _Load:
        key = (version.name, version.version)
        load = _Load(version.source, asyncio.create_task(self._load(version, like)))
        load.task.add_done_callback(lambda _: self._loads.pop(key))
        self._loads[key] = load
        return load

    async def _load(self, version: ModelVersion, like: ModelSpec | None) -> None:
        served = next((slot.spec for slot in self._catalog.slots(version.name)), None)
        spec = replace(like or served or self._template, name=version.name, source=version.source)
        try:
            source = await asyncio.to_thread(self._artifacts.local, version.source, version.digest)
        except InvalidInput as err:
            self._catalog.refuse(spec, version.version, err.message)
            raise
        spec = replace(spec, source=source)
        await self._catalog.load_version(spec, version.version, version.digest)
