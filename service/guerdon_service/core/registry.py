"""The registry as data: versions, the aliases that point at them, and every change of an alias."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from guerdon_service.core.artifact import ModelInfo, ModelSpec

CHAMPION = "champion"
"""The alias that a bare model name means."""
CANDIDATE = "candidate"
"""The alias of the newest version that is not the champion."""

Kind = Literal["reward", "policy"]
Action = Literal["register", "promote", "override", "rollback", "remove", "stop"]
"""``stop``: the version is known to be worse and gets no more traffic; the alias stays where it is."""


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One immutable version. Times are Unix seconds.

    source: folder or fsspec URL of the artifact, whose digest is `digest`.
    parents: lineage that the manifest states: data digests, config, base, git revision.
    """

    name: str
    version: str
    digest: str
    kind: Kind
    source: str
    registered_by: str
    registered_at: float
    parents: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class GateCheck:
    """One question of the gate. `passed` None: not asked, and `detail` says why."""

    name: str
    passed: bool | None
    detail: str


@dataclass(frozen=True, slots=True)
class AliasChange:
    """An alias moved from one version to another (None: it was new), by whom, on what evidence.

    One that was removed tells where it stood, as `previous` and as `version`.
    """

    name: str
    alias: str
    action: Action
    previous: str | None
    version: str
    by: str
    at: float
    reason: str
    evaluation_id: str | None
    checks: tuple[GateCheck, ...]


@dataclass(frozen=True, slots=True)
class ModelHistory:
    """All that the registry knows of one name; versions and changes oldest first."""

    name: str
    versions: tuple[ModelVersion, ...]
    aliases: Mapping[str, str]
    changes: tuple[AliasChange, ...]


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A name of the registry, loaded or not; `aliases` are versions by alias."""

    name: str
    kind: Kind
    aliases: Mapping[str, str]


def shown(history: ModelHistory, *, is_admin: bool) -> ModelHistory:
    """What a caller may see: only an admin is told where artifacts lie."""
    if is_admin:
        return history
    return replace(history, versions=tuple(replace(version, source="") for version in history.versions))


@dataclass(frozen=True, slots=True)
class PromoteQuery:
    """Point `alias` of `name` at `version`.

    evaluation_id: a finished evaluation of that version against the current one.
    override_reason: a written reason to promote although the gate refuses; kept. None: the gate decides.
    """

    name: str
    version: str
    by: str
    alias: str = CHAMPION
    evaluation_id: str | None = None
    override_reason: str | None = None


class RegistryStore(Protocol):
    """Durable registry. Blocking; every method is one transaction."""

    def add_version(self, version: ModelVersion) -> None:
        """Store it; one of the same digest again changes nothing but its source.

        Raises:
            InvalidInput: name and version exist with another digest.
        """
        ...

    def history(self, name: str) -> ModelHistory:
        """Everything of one name; empty when unknown."""
        ...

    def models(self) -> tuple[RegisteredModel, ...]:
        """Every registered name, in alphabetical order."""
        ...

    def aliases(self) -> Mapping[tuple[str, str], str]:
        """``{(name, alias): version}`` of all names: what a replica follows."""
        ...

    def move_alias(self, change: AliasChange) -> None:
        """Point the alias and keep the change, if it still stands at `change.previous`.

        Raises:
            InvalidInput: another change came first.
        """
        ...

    def remove_alias(self, change: AliasChange) -> None:
        """Remove the alias and keep the change, if it still stands at `change.previous`.

        Raises:
            InvalidInput: another change came first.
        """
        ...


class Registrar(Protocol):
    """What a transport asks of the registry. Raises only `core.errors`."""

    async def load(self, spec: ModelSpec, by: str) -> ModelInfo:
        """Load a model under a new name, and register it; an ensemble is loaded alone."""
        ...

    async def register(self, name: str, source: str, by: str) -> ModelVersion:
        """Read, certify, load and store the artifact at `source` as a version of `name`."""
        ...

    async def models(self) -> tuple[RegisteredModel, ...]:
        """Every registered name, in alphabetical order."""
        ...

    async def history(self, name: str) -> ModelHistory:
        """Everything of one name; `UnknownModel` when there is none."""
        ...

    async def card(self, name: str, version: str) -> str:
        """The model card of one version, Markdown; `UnknownModel` when there is none."""
        ...

    async def promote(self, query: PromoteQuery) -> AliasChange:
        """Run the gate and move the alias; `GateRefused` with the reasons otherwise."""
        ...

    async def rollback(self, name: str, alias: str, by: str, reason: str) -> AliasChange:
        """Point the alias back at the version before the last change."""
        ...

    async def remove_alias(self, name: str, alias: str, by: str, reason: str) -> AliasChange:
        """Take the alias away; its version stays registered."""
        ...
