"""Administrators' acts over gRPC, written down."""

from dataclasses import dataclass
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message

from guerdon_service.core.audit import AdminAct, AuditLog, told
from guerdon_service.core.call import caller_name


@dataclass(frozen=True, slots=True)
class Auditor:
    """Writes down calls whose messages are of `kind`."""

    log: AuditLog
    kind: type[Message]

    async def record(self, verb: str, data: bytes, tenant: str, request_id: str, outcome: str) -> None:
        """One call, a refused one too."""
        detail = told(_fields(self.kind, data))
        await self.log.record(AdminAct(caller_name(tenant), verb, outcome, "grpc", request_id, detail))


def _fields(kind: type[Message], data: bytes) -> dict[str, Any]:
    """What the message says, of a list its length, as the log is no place for data; nothing if it is none."""
    try:
        fields = MessageToDict(kind.FromString(data), preserving_proto_field_name=True)
    except DecodeError:
        return {}
    return dict(_told_short(name, value) for name, value in fields.items())


def _told_short(name: str, value: Any) -> tuple[str, Any]:
    return (f"num_{name}", len(value)) if isinstance(value, list) else (name, value)
