from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from guerdon_service.core.errors import InvalidInput, NotReady
from guerdon_service.state.database import Database, open_database
from guerdon_service.state.registry_store import SqlRegistryStore
from guerdon_service.state.tables import METADATA
from tests.postgres_server import PostgresServer
from tests.state.racing import race


def test_the_migrations_make_the_tables_that_the_code_reads(database: Database) -> None:
    with database.reading() as connection:
        options = {"version_table": "schema_version", "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, METADATA) == []


@pytest.mark.parametrize("kind", ["file", "postgresql"])
def test_replicas_that_open_a_new_database_at_once_all_find_its_tables(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    if kind == "postgresql":
        url = request.getfixturevalue("postgres_server").new_database()
    opened = race(6, lambda _: open_database(url))
    assert [SqlRegistryStore(database).models() for database in opened] == [()] * 6
    for database in opened:
        database.close()


def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    def names() -> list[str]:
        with database.reading() as connection:
            return list(connection.execute(text("SELECT name FROM aliases")).scalars())

    insert = text("INSERT INTO aliases VALUES ('n', 'a', '1')")
    with pytest.raises(ZeroDivisionError), database.writing() as connection:
        connection.execute(insert)
        raise ZeroDivisionError
    assert names() == []
    with database.writing() as connection:
        connection.execute(insert)
    assert names() == ["n"]


@pytest.mark.parametrize("kind", ["file", "postgresql"])
def test_a_transaction_reads_from_one_moment(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    if kind == "postgresql":
        url = request.getfixturevalue("postgres_server").new_database()
    database = open_database(url)
    count = text("SELECT count(*) FROM aliases")
    with database.reading() as reader:
        assert reader.execute(count).scalar_one() == 0
        with database.writing() as writer:
            writer.execute(text("INSERT INTO aliases VALUES ('n', 'a', '1')"))
        assert reader.execute(count).scalar_one() == 0
    with database.reading() as reader:
        assert reader.execute(count).scalar_one() == 1
    database.close()


def test_writers_of_one_database_wait_for_each_other(database: Database) -> None:
    with database.writing() as connection:
        connection.execute(text("INSERT INTO aliases VALUES ('n', 'a', '0')"))

    def add_one(_: int) -> None:
        for _repeat in range(5):
            with database.writing() as connection:
                locked = " FOR UPDATE" if connection.dialect.name == "postgresql" else ""
                old = connection.execute(text(f"SELECT version FROM aliases{locked}")).scalar_one()
                connection.execute(text("UPDATE aliases SET version = :v"), {"v": str(int(old) + 1)})

    race(8, add_one)
    with database.reading() as connection:
        assert connection.execute(text("SELECT version FROM aliases")).scalar_one() == "40"


@pytest.mark.parametrize("url", ["", "no url", "mysql://root@localhost/x", "postgresql+asyncpg://host/x"])
def test_an_unknown_kind_of_database_is_refused_by_name(url: str) -> None:
    with pytest.raises(InvalidInput, match="state_url") as refused:
        open_database(url)
    assert refused.value.param == "state_url"


@pytest.mark.parametrize("kind", ["file", "postgresql"])
def test_a_database_that_cannot_be_reached_is_not_ready_and_no_password_is_told(
    kind: str, tmp_path: Path
) -> None:
    nowhere = tmp_path / "nowhere"
    urls = {
        "file": f"sqlite:///{tmp_path}",  # which is a folder
        "postgresql": f"postgresql://user:hunter2@/x?host={nowhere}",
    }
    with pytest.raises(NotReady) as refused:
        open_database(urls[kind])
    assert "hunter2" not in refused.value.message
    assert refused.value.retry_after_ms


def test_a_killed_server_is_not_ready_and_a_restarted_one_goes_on(postgres_server: PostgresServer) -> None:
    database = open_database(postgres_server.new_database())
    store = SqlRegistryStore(database)
    assert store.models() == ()
    postgres_server.kill()
    try:
        for _ in range(2):  # on the broken connection, then without any
            with pytest.raises(NotReady):
                store.models()
    finally:
        postgres_server.start()
    assert store.models() == ()
    database.close()


def test_a_server_killed_in_mid_transaction_keeps_nothing_of_it(postgres_server: PostgresServer) -> None:
    database = open_database(postgres_server.new_database())
    with pytest.raises(NotReady), database.writing() as connection:
        connection.execute(text("INSERT INTO aliases VALUES ('n', 'a', '1')"))
        postgres_server.kill()
        postgres_server.start()
    assert SqlRegistryStore(database).aliases() == {}
    database.close()
