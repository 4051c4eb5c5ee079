"""Bring a database's tables up to date."""

import logging
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

_LOCK = 0x6775657264
"""Key of the advisory lock ("guerd") under which one replica migrates at a time."""
VERSION_TABLE = "schema_version"

log = logging.getLogger(__name__)


def migrate(connection: Connection) -> None:
    """Run every migration that the database lacks, within the caller's transaction.

    SQLite's write lock, or an advisory lock on PostgreSQL, makes other replicas wait and then find nothing
    to do. Tables of a newer version are used as they are: migrations only add.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    if newer := _unknown_revisions(connection, config):
        log.warning("the tables are of a newer version, and used as they are", extra={"revisions": newer})
        return
    command.upgrade(config, "head")


def _unknown_revisions(connection: Connection, config: Config) -> list[str]:
    """Revisions that the database has and this version does not know."""
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return sorted(set(context.get_current_heads()) - known)
