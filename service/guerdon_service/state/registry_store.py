"""Versions of models, their aliases and every change of those, in SQL."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, exists, insert, select, update

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.registry import (
    CANDIDATE,
    AliasChange,
    GateCheck,
    ModelHistory,
    ModelVersion,
    RegisteredModel,
)
from guerdon_service.state.database import Database, insert_new
from guerdon_service.state.decode import decoded
from guerdon_service.state.tables import ALIAS_CHANGES, ALIASES, MODEL_VERSIONS

_VERSION = MODEL_VERSIONS.c
_ALIAS = ALIASES.c
_CHANGE = ALIAS_CHANGES.c
_VERSION_COLUMNS = [_VERSION[field.name] for field in fields(ModelVersion)]
_CHANGE_COLUMNS = [_CHANGE[field.name] for field in fields(AliasChange)]


class SqlRegistryStore:
    """`core.registry.RegistryStore` on a `Database`. Every method raises `NotReady` in an outage."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_version(self, version: ModelVersion) -> None:
        """Store it; one of the same digest again is the same artifact, wherever it lies now."""
        ours = (_VERSION.name == version.name, _VERSION.version == version.version)
        with self._database.writing() as connection:
            if insert_new(connection, MODEL_VERSIONS, [asdict(version)]):
                return
            known = connection.execute(select(_VERSION.digest).where(*ours)).scalar_one()
            if known == version.digest:
                moved = update(MODEL_VERSIONS).where(*ours, _VERSION.source != version.source)
                connection.execute(moved.values(source=version.source))
        if known != version.digest:
            raise InvalidInput(
                f"version {version.version} of {version.name} is registered with digest {known[:12]}, this "
                f"artifact has {version.digest[:12]}; give it a version of its own",
                param="version",
            )

    def history(self, name: str) -> ModelHistory:
        """Everything of one name; empty when unknown."""
        if "\0" in name:  # which no name has, and PostgreSQL would refuse to look for
            return ModelHistory(name, (), {}, ())
        versions = select(*_VERSION_COLUMNS).where(_VERSION.name == name).order_by(_VERSION.seq)
        aliases = select(_ALIAS.alias, _ALIAS.version).where(_ALIAS.name == name).order_by(_ALIAS.alias)
        changes = select(*_CHANGE_COLUMNS).where(_CHANGE.name == name).order_by(_CHANGE.seq)
        with self._database.reading() as connection:
            return ModelHistory(
                name,
                tuple(ModelVersion(*row) for row in connection.execute(versions)),
                {row.alias: row.version for row in connection.execute(aliases)},
                tuple(_change(row) for row in connection.execute(changes)),
            )

    def models(self) -> tuple[RegisteredModel, ...]:
        """Every registered name, in alphabetical order."""
        with self._database.reading() as connection:
            rows = connection.execute(select(_VERSION.name, _VERSION.kind).distinct())
            kinds = {row.name: row.kind for row in rows}  # all of a name are of one kind
            aliases: dict[str, dict[str, str]] = {name: {} for name in kinds}
            for (name, alias), version in sorted(_aliases(connection).items()):
                aliases[name][alias] = version
        return tuple(RegisteredModel(name, kinds[name], aliases[name]) for name in sorted(kinds))

    def aliases(self) -> Mapping[tuple[str, str], str]:
        """``{(name, alias): version}`` of all names."""
        with self._database.reading() as connection:
            return _aliases(connection)

    def move_alias(self, change: AliasChange) -> None:
        """Point the alias and keep the change, if it still stands at `change.previous`."""
        with self._database.writing() as connection:
            if not _is_known(connection, change):
                raise InvalidInput(
                    f"version {change.version!r} of {change.name} is not registered; register it first",
                    param="version",
                )
            if not _moved(connection, change):
                raise _outrun(change)
            connection.execute(insert(ALIAS_CHANGES).values(**asdict(change)))

    def remove_alias(self, change: AliasChange) -> None:
        """Remove the alias and keep the change, if it still stands at `change.previous`."""
        gone = delete(ALIASES).where(*_stands(change))
        with self._database.writing() as connection:
            if connection.execute(gone).rowcount != 1:
                raise _outrun(change)
            connection.execute(insert(ALIAS_CHANGES).values(**asdict(change)))

    def stop_candidate(self, change: AliasChange) -> None:
        """Keep that the alias's version was stopped, once, if the alias still stands there."""
        last = select(_CHANGE.action).where(_CHANGE.name == change.name, _CHANGE.alias == change.alias)
        with self._database.writing() as connection:
            if not _moved(connection, change):  # to where it stands: its row is locked now
                raise InvalidInput(
                    f"{change.name}@{change.alias} no longer stands at {change.version}", param="alias"
                )
            if connection.execute(last.order_by(_CHANGE.seq.desc()).limit(1)).scalar_one() != "stop":
                connection.execute(insert(ALIAS_CHANGES).values(**asdict(change)))

    def stopped_candidates(self) -> frozenset[tuple[str, str]]:
        """``(name, version)`` of candidates of which nothing has been changed since they were stopped."""
        later = ALIAS_CHANGES.alias("later")
        is_last = ~exists().where(
            later.c.name == _CHANGE.name, later.c.alias == CANDIDATE, later.c.seq > _CHANGE.seq
        )
        stopped = select(_CHANGE.name, _CHANGE.version).where(
            _CHANGE.action == "stop", _CHANGE.alias == CANDIDATE, is_last
        )
        with self._database.reading() as connection:
            return frozenset((row.name, row.version) for row in connection.execute(stopped))


def _aliases(connection: Connection) -> dict[tuple[str, str], str]:
    rows = connection.execute(select(_ALIAS.name, _ALIAS.alias, _ALIAS.version))
    return {(row.name, row.alias): row.version for row in rows}


def _is_known(connection: Connection, change: AliasChange) -> bool:
    wanted = select(_VERSION.seq).where(_VERSION.name == change.name, _VERSION.version == change.version)
    return connection.execute(wanted).one_or_none() is not None


def _moved(connection: Connection, change: AliasChange) -> bool:
    """Compare and set, in one statement either way."""
    if change.previous is None:
        row = {"name": change.name, "alias": change.alias, "version": change.version}
        return insert_new(connection, ALIASES, [row]) == 1
    moved = update(ALIASES).where(*_stands(change)).values(version=change.version)
    return connection.execute(moved).rowcount == 1


def _stands(change: AliasChange) -> tuple[ColumnElement[bool], ...]:
    """Whether the alias is still where the change takes it from."""
    return (_ALIAS.name == change.name, _ALIAS.alias == change.alias, _ALIAS.version == change.previous)


def _outrun(change: AliasChange) -> InvalidInput:
    return InvalidInput(
        f"{change.name}@{change.alias} no longer stands at {change.previous or 'nothing'}: another change "
        "came first; look at the history and ask again",
        param="alias",
    )


def _change(row: Row[Any]) -> AliasChange:
    values = row._asdict()
    return AliasChange(**values | {"checks": tuple(decoded(GateCheck, check) for check in values["checks"])})
