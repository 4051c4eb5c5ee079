"""What the registry gives. Times are Unix seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One immutable version; `parents` is the lineage that its manifest states."""

    name: str
    version: str
    digest: str
    kind: str
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

    action: ``register``, ``promote``, ``override``, ``rollback``, ``stop`` or ``remove``; a removed alias
        stood at `previous`, which `version` repeats.
    """

    name: str
    alias: str
    action: str
    previous: str | None
    version: str
    by: str
    at: float
    reason: str
    evaluation_id: str | None
    checks: tuple[GateCheck, ...]


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A name of the registry, loaded or not; `aliases` are versions by alias."""

    name: str
    kind: str
    aliases: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ModelHistory:
    """All that the registry knows of one name; versions and changes oldest first."""

    name: str
    versions: tuple[ModelVersion, ...]
    aliases: Mapping[str, str]
    changes: tuple[AliasChange, ...]
