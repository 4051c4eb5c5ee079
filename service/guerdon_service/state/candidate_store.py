"""Logged candidates of best-of-n in SQL."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from sqlalchemy import select

from guerdon_service.core.candidate_log import CandidateRecord, LoggedCandidate
from guerdon_service.core.conversation import Message
from guerdon_service.state.database import Database, insert_new
from guerdon_service.state.tables import CANDIDATE_RECORDS

PAGE = 100
"""Records that one query reads; each holds up to 256 responses."""

_COLUMN = CANDIDATE_RECORDS.c


class SqlCandidateStore:
    """`core.candidate_log.CandidateStore` on a `Database`. Every method raises `NotReady` in an outage."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, record: CandidateRecord) -> None:
        """Store it; the same id again changes nothing."""
        row = {"id": record.id, "tenant": record.tenant, "body": asdict(record)}
        with self._database.writing() as connection:
            insert_new(connection, CANDIDATE_RECORDS, [row])

    def read(self, tenant: str | None = None) -> Iterator[CandidateRecord]:
        """All of it, or one tenant's, in the order of arrival; a transaction per page."""
        last = 0
        wanted = select(_COLUMN.seq, _COLUMN.body).order_by(_COLUMN.seq).limit(PAGE)
        if tenant is not None:
            wanted = wanted.where(_COLUMN.tenant == tenant)
        while True:
            with self._database.reading() as connection:
                rows = connection.execute(wanted.where(_COLUMN.seq > last)).all()
            if not rows:
                return
            yield from (_record(row.body) for row in rows)
            last = rows[-1].seq


def _record(body: dict[str, Any]) -> CandidateRecord:
    prompt = tuple(Message(**message) for message in body["prompt"])
    candidates = tuple(LoggedCandidate(**candidate) for candidate in body["candidates"])
    return CandidateRecord(**body | {"prompt": prompt, "candidates": candidates})
