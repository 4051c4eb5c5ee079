"""What administrators did, or tried: who, what, when, and what came of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from guerdon_service.core.call import wire_text
from guerdon_service.core.url_secrets import without_secrets


@dataclass(frozen=True, slots=True)
class AdminAct:
    """One call of an administrators' verb.

    by: the API key's name, or ``anonymous``.
    act: the verb, as metrics name it.
    outcome: ``ok``, or the code of the error.
    detail: what was asked for, field by field, as `told` gives it.
    """

    by: str
    act: str
    outcome: str
    transport: str
    request_id: str
    detail: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RecordedAct:
    """An act in the log; `at` is in Unix seconds."""

    at: float
    act: AdminAct


class AuditStore(Protocol):
    """Where the log's rows are. Blocks; raises `NotReady` in an outage."""

    def add(self, recorded: RecordedAct) -> None:
        """Append one."""
        ...

    def newest(self, limit: int) -> tuple[RecordedAct, ...]:
        """The last `limit` of them, newest first."""
        ...


class AuditLog(Protocol):
    """Where acts are written down. Nobody can change or remove one through the service."""

    async def record(self, act: AdminAct) -> None:
        """Write it down. Never raises: the act has happened, and the log lines have it too."""
        ...

    async def acts(self, limit: int) -> tuple[RecordedAct, ...]:
        """The newest acts, newest first.

        Raises:
            NotReady: the database cannot be reached.
        """
        ...


def told(asked: Mapping[str, Any]) -> dict[str, str]:
    """What was asked for as short texts, without what a URL might hide: credentials and signed queries."""
    texts = {k: v if isinstance(v, str) else json.dumps(v, default=str) for k, v in asked.items()}
    return {wire_text(k): wire_text(without_secrets(v)) for k, v in texts.items()}
