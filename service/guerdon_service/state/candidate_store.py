"""Logged candidates of best-of-n in SQL."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from sqlalchemy import delete, select

from guerdon_service.core.candidate_log import CandidateRecord, LoggedCandidate
from guerdon_service.core.conversation import Message
from guerdon_service.state.database import Database, insert_new
from guerdon_service.state.decode import decoded
from guerdon_service.state.pages import read_bodies
from guerdon_service.state.tables import CANDIDATE_RECORDS

_RECORD = CANDIDATE_RECORDS.c
PAGE = 100
"""Records that one query reads; each holds up to 256 responses."""


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
        return map(_record, read_bodies(self._database, CANDIDATE_RECORDS, tenant, PAGE))

    def prune(self, before: float) -> int:
        """Remove the records of the oldest page that are from before a time (Unix seconds); how many.

        Records arrive about in the order of their times, whichever replica wrote them, so what is too old is
        on the first page. Of replicas that prune at once each counts what itself removed.
        """
        oldest = select(_RECORD.seq, _RECORD.body).order_by(_RECORD.seq).limit(PAGE)
        with self._database.writing() as connection:
            old = [row.seq for row in connection.execute(oldest) if row.body["at"] < before]
            return connection.execute(delete(CANDIDATE_RECORDS).where(_RECORD.seq.in_(old))).rowcount


def _record(body: dict[str, Any]) -> CandidateRecord:
    prompt = tuple(decoded(Message, message) for message in body["prompt"])
    candidates = tuple(
        decoded(LoggedCandidate, candidate | {"deviations": tuple(candidate.get("deviations", ()))})
        for candidate in body["candidates"]
    )
    return decoded(CandidateRecord, body | {"prompt": prompt, "candidates": candidates})
