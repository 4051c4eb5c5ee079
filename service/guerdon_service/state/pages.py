"""Reading a table that only grows, a page at a time."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Table, select

from guerdon_service.state.database import Database


def read_bodies(database: Database, table: Table, tenant: str | None, page: int) -> Iterator[dict[str, Any]]:
    """Column ``body`` of all rows, or of one tenant's, in the order of arrival; a transaction per page.

    Args:
        table: with the columns ``seq``, ``tenant`` and ``body``.
        page: rows that one query reads.
    """
    column, last = table.c, 0
    wanted = select(column.seq, column.body).order_by(column.seq).limit(page)
    if tenant is not None:
        wanted = wanted.where(column.tenant == tenant)
    while True:
        with database.reading() as connection:
            rows = connection.execute(wanted.where(column.seq > last)).all()
        if not rows:
            return
        yield from (row.body for row in rows)
        last = rows[-1].seq
