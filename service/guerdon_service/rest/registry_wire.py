"""JSON to what is asked of the registry, and its answers to JSON."""

from collections.abc import Sequence
from dataclasses import dataclass

from guerdon_service.core.call import Call
from guerdon_service.core.registry import (
    CHAMPION,
    AliasChange,
    ModelHistory,
    ModelVersion,
    PromoteQuery,
    RegisteredModel,
)
from guerdon_service.rest.fields import read_id, read_name, read_object
from guerdon_service.rest.render import dump

_REGISTER = frozenset({"source"})
_PROMOTE = frozenset({"version", "alias", "evaluation_id", "override_reason"})
_UNDONE = frozenset({"alias", "reason"})


@dataclass(frozen=True, slots=True)
class Undoing:
    """What the body of a rollback, or of a removal, asks for."""

    alias: str
    by: str
    reason: str


def decode_register(value: object, call: Call) -> tuple[str, str]:
    """``{source}``; the source, and who registers."""
    return read_id(read_object(value, _REGISTER, ""), "source"), call.by


def decode_promote(value: object, call: Call, name: str) -> PromoteQuery:
    """``{version, alias?, evaluation_id?, override_reason?}``."""
    fields = read_object(value, _PROMOTE, "")
    return PromoteQuery(
        name=name,
        version=read_id(fields, "version"),
        by=call.by,
        alias=read_name(fields, "alias") or CHAMPION,
        evaluation_id=read_name(fields, "evaluation_id"),
        override_reason=read_name(fields, "override_reason"),
    )


def decode_rollback(value: object, call: Call) -> Undoing:
    """``{reason, alias?}``."""
    fields = read_object(value, _UNDONE, "")
    return Undoing(read_name(fields, "alias") or CHAMPION, call.by, read_id(fields, "reason"))


def decode_removal(value: object, call: Call) -> Undoing:
    """``{alias, reason}``."""
    fields = read_object(value, _UNDONE, "")
    return Undoing(read_id(fields, "alias"), call.by, read_id(fields, "reason"))


def render_version(version: ModelVersion) -> bytes:
    """One version."""
    return dump(version)


def render_models(models: Sequence[RegisteredModel]) -> bytes:
    """``{models: [{name, kind, aliases}]}``."""
    return dump({"models": models})


def render_history(history: ModelHistory) -> bytes:
    """``{name, versions, aliases, changes}``."""
    return dump(history)


def render_change(change: AliasChange) -> bytes:
    """One change of an alias, with what the gate said."""
    return dump(change)
