"""Open a database by URL: an embedded SQLite, or a PostgreSQL that replicas share."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from guerdon_service.core.errors import InvalidInput, NotReady
from guerdon_service.state.migrate import migrate

BUSY_TIMEOUT_S = 10
"""How long a transaction waits for another one, or for a connection."""
CONNECT_TIMEOUT_S = 5
"""How long a server may take to accept a connection."""
_IMPATIENT = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    # A server that vanished from the network sends no word: without these a read waits for two hours.
    "tcp_user_timeout": BUSY_TIMEOUT_S * 1000,
    "keepalives_idle": BUSY_TIMEOUT_S,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}


@dataclass(frozen=True, slots=True)
class Database:
    """Transactions on one database; safe for use by several threads."""

    engine: Engine

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads, all of it from one moment.

        Raises:
            NotReady: the database cannot be reached, or is too busy.
        """
        with _told_apart(), self.engine.connect() as connection:
            if connection.dialect.name == "postgresql":  # where each statement has a moment of its own
                connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that may write: whole or not at all.

        Raises:
            NotReady: the database cannot be reached, or is too busy.
        """
        with _told_apart(), self.engine.connect() as connection:
            connection.execution_options(guerdon_writes=True)
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Let every connection go."""
        self.engine.dispose()


def check_url(url: str) -> None:
    """Refuse what `open_database` would refuse, as far as it can be told without a connection.

    Raises:
        InvalidInput: no such kind of database, its driver is not installed, or the folder of its file does
            not exist.
    """
    engine = _engine(url)
    engine.dispose()
    file = engine.url.database if engine.dialect.name == "sqlite" else None
    if file and not file.startswith("file:") and not Path(file).parent.is_dir():
        raise InvalidInput(
            f"state_url names a file in {Path(file).parent}, which does not exist; make that folder first",
            param="state_url",
        )


def open_database(url: str) -> Database:
    """Open `url` and bring its tables up to date; several replicas may do so at once.

    Args:
        url: ``sqlite://`` (in memory, for one process), ``sqlite:///PATH``, or
            ``postgresql://USER:PASSWORD@HOST:PORT/NAME``.

    Raises:
        InvalidInput: as `check_url`.
        NotReady: it cannot be reached.
    """
    check_url(url)
    database = Database(_engine(url))
    try:
        with database.writing() as connection:
            migrate(connection)
    except BaseException:
        database.close()
        raise
    return database


def open_existing(url: str) -> Database:
    """`open_database` for what only reads: the wrong path of an SQLite file makes no empty database.

    Raises:
        InvalidInput: there is no such file; and as `open_database`.
        NotReady: it cannot be reached.
    """
    engine = _engine(url)
    if engine.dialect.name == "sqlite" and engine.url.database and not Path(engine.url.database).exists():
        raise InvalidInput(
            f"state_url names {engine.url.database}, which does not exist; give the service's own",
            param="state_url",
        )
    return open_database(url)


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
    """Insert those rows that no unique key has yet; how many those were."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    # Asking for the inserted keys makes one statement of many rows; counts are not told reliably.
    statement = dialect.insert(table).on_conflict_do_nothing().returning(next(iter(table.primary_key)))
    return len(connection.execute(statement, rows).all())


def _engine(text: str) -> Engine:
    try:
        url = make_url(text)
    except ArgumentError:
        raise _unknown("which is no URL") from None
    if url.get_backend_name() == "sqlite":
        return _sqlite(url)
    if url.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        return _postgresql(url.set(drivername="postgresql+psycopg"))
    raise _unknown(f"of the kind {url.drivername!r}")


def _unknown(why: str) -> InvalidInput:
    return InvalidInput(
        f"state_url names a database {why}; use sqlite:///PATH or postgresql://HOST/NAME", param="state_url"
    )


def _sqlite(url: URL) -> Engine:
    in_memory = url.database in (None, "", ":memory:")
    engine = create_engine(
        url.set(drivername="sqlite+pysqlite"),
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
        poolclass=QueuePool,
        # The one connection of a database in memory is the database; waiting for it is the lock.
        pool_size=1 if in_memory else 5,
        max_overflow=0 if in_memory else 10,
        pool_timeout=6 * BUSY_TIMEOUT_S if in_memory else BUSY_TIMEOUT_S,
    )

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # else the driver begins transactions on its own, and late
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        # A transaction that begins by reading and then writes fails at once when another wrote between.
        writes = connection.get_execution_options().get("guerdon_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql(url: URL) -> Engine:
    try:
        return create_engine(
            url,
            connect_args=_IMPATIENT,
            pool_pre_ping=True,  # a restarted server is found out before a transaction begins
            pool_timeout=BUSY_TIMEOUT_S,
        )
    except ImportError:
        raise InvalidInput(
            "state_url names a PostgreSQL, whose driver is not installed; pip install 'guerdon[postgres]'",
            param="state_url",
        ) from None


@contextmanager
def _told_apart() -> Iterator[None]:
    """An outage as `NotReady`; anything else the driver raises is a bug of ours and stays what it is."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as err:
        raise _outage(err) from err
    except DBAPIError as err:
        if err.connection_invalidated:
            raise _outage(err) from err
        raise


def _outage(err: Exception) -> NotReady:
    return NotReady(
        "the state database cannot be reached or is too busy; start it, or correct state_url",
        retry_after_ms=1000,
    )
