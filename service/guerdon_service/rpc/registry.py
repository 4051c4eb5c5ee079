"""The registry over gRPC: parse, call, render."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_service.core.call import Call
from guerdon_service.core.registry import (
    CHAMPION,
    AliasChange,
    ModelHistory,
    ModelVersion,
    PromoteQuery,
    Registrar,
    shown,
)
from guerdon_service.rpc.decode import parse, required


@dataclass(frozen=True, slots=True)
class RegistryVerbs:
    """One method per verb, from a message's bytes to the reply; raises only `core.errors`."""

    service: Registrar

    async def register(self, data: bytes, call: Call) -> pb.ModelVersion:
        """Store an artifact as a version of a name, and load it."""
        message = required(parse(pb.RegisterModelRequest, data), "name", "source")
        return _version(await self.service.register(message.name, message.source, call.by))

    async def models(self, data: bytes, call: Call) -> pb.ListRegisteredModelsResponse:
        """Every registered name, loaded or not."""
        parse(pb.ListRegisteredModelsRequest, data)
        found = await self.service.models()
        named = [pb.RegisteredModel(name=it.name, kind=it.kind, aliases=it.aliases) for it in found]
        return pb.ListRegisteredModelsResponse(models=named)

    async def history(self, data: bytes, call: Call) -> pb.ModelHistory:
        """Versions, aliases and changes of one name, oldest first; sources for an admin."""
        message = required(parse(pb.GetModelHistoryRequest, data), "name")
        return render_history(shown(await self.service.history(message.name), is_admin=call.is_admin))

    async def card(self, data: bytes, call: Call) -> pb.ModelCard:
        """The model card of one version."""
        message = required(parse(pb.GetModelCardRequest, data), "name", "version")
        return pb.ModelCard(card=await self.service.card(message.name, message.version))

    async def promote(self, data: bytes, call: Call) -> pb.AliasChange:
        """Point an alias at a version, if the gate allows it."""
        message = required(parse(pb.PromoteModelRequest, data), "name", "version")
        query = PromoteQuery(
            name=message.name,
            version=message.version,
            by=call.by,
            alias=message.alias or CHAMPION,
            evaluation_id=message.evaluation_id if message.HasField("evaluation_id") else None,
            override_reason=message.override_reason if message.HasField("override_reason") else None,
        )
        return _change(await self.service.promote(query))

    async def rollback(self, data: bytes, call: Call) -> pb.AliasChange:
        """Point an alias back at the version before."""
        message = required(parse(pb.RollbackModelRequest, data), "name")
        change = await self.service.rollback(message.name, message.alias or CHAMPION, call.by, message.reason)
        return _change(change)

    async def remove_alias(self, data: bytes, call: Call) -> pb.AliasChange:
        """Take an alias away, but never the champion."""
        message = required(parse(pb.RemoveAliasRequest, data), "name", "alias")
        change = await self.service.remove_alias(message.name, message.alias, call.by, message.reason)
        return _change(change)


def render_history(history: ModelHistory) -> pb.ModelHistory:
    """``{name, versions, aliases, changes}``."""
    return pb.ModelHistory(
        name=history.name,
        versions=[_version(version) for version in history.versions],
        aliases=history.aliases,
        changes=[_change(change) for change in history.changes],
    )


def _version(version: ModelVersion) -> pb.ModelVersion:
    return pb.ModelVersion(
        name=version.name,
        version=version.version,
        digest=version.digest,
        kind=version.kind,
        source=version.source,
        registered_by=version.registered_by,
        registered_at=version.registered_at,
        parents_json=_json(version.parents),
    )


def _change(change: AliasChange) -> pb.AliasChange:
    return pb.AliasChange(
        name=change.name,
        alias=change.alias,
        action=change.action,
        previous=change.previous,
        version=change.version,
        by=change.by,
        at=change.at,
        reason=change.reason,
        evaluation_id=change.evaluation_id,
        checks=[pb.GateCheck(name=c.name, passed=c.passed, detail=c.detail) for c in change.checks],
    )


def _json(value: Mapping[str, Any]) -> str:
    return orjson.dumps(value, default=dict).decode()
