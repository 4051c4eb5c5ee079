"""The audit log in SQL: rows are added and read, never changed."""

from dataclasses import asdict

from sqlalchemy import insert, select

from guerdon_service.core.audit import AdminAct, RecordedAct
from guerdon_service.state.database import Database
from guerdon_service.state.decode import decoded
from guerdon_service.state.tables import AUDIT_LOG


class SqlAuditStore:
    """Acts of administrators, on a `Database`. Every method raises `NotReady` in an outage."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, recorded: RecordedAct) -> None:
        """Append one."""
        body = asdict(recorded.act) | {"detail": dict(recorded.act.detail)}
        with self._database.writing() as connection:
            connection.execute(insert(AUDIT_LOG), {"at": recorded.at, "body": body})

    def newest(self, limit: int) -> tuple[RecordedAct, ...]:
        """The last `limit` of them, newest first."""
        query = select(AUDIT_LOG.c.at, AUDIT_LOG.c.body).order_by(AUDIT_LOG.c.seq.desc()).limit(limit)
        with self._database.reading() as connection:
            return tuple(
                RecordedAct(row.at, decoded(AdminAct, row.body)) for row in connection.execute(query)
            )
