"""The audit log: a log line and a row of the state database for each act."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import asdict

from guerdon_service.core.audit import AdminAct, AuditStore, RecordedAct

_LOG = logging.getLogger("guerdon.audit")
_LOG.setLevel(logging.INFO)  # whatever the level of all others: who sets it means to hear less of the service


class AuditTrail:
    """`core.audit.AuditLog` on a database."""

    def __init__(self, store: AuditStore, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    async def record(self, act: AdminAct) -> None:
        """The line first: it is written even while the database is away."""
        fields = asdict(act) | {"detail": dict(act.detail)}
        _LOG.info("admin act", extra=fields)
        try:
            await asyncio.to_thread(self._store.add, RecordedAct(self._clock(), act))
        except Exception:  # whatever it is: the act has happened, and its caller is owed the answer
            _LOG.exception("this act is in the log lines alone", extra=fields)

    async def acts(self, limit: int) -> tuple[RecordedAct, ...]:
        """The newest acts, newest first; `NotReady` in an outage."""
        return await asyncio.to_thread(self._store.newest, limit)
