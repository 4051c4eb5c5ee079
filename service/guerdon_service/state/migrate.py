"""Bring a database's tables up to date."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

_LOCK = 0x6775657264
"""Key of the advisory lock ("guerd") under which one replica migrates at a time."""


def migrate(connection: Connection) -> None:
    """Run every migration that the database lacks, within the caller's transaction.

    SQLite's write lock, or an advisory lock on PostgreSQL, makes other replicas wait and then find nothing
    to do.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
