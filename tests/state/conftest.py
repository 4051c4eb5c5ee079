from collections.abc import Iterator
from pathlib import Path

import pytest

from guerdon_service.state.database import Database, open_database
from tests.postgres_server import PostgresServer, postgres_server

__all__ = ["postgres_server"]

KINDS = ("memory", "file", "postgresql")


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of an empty database of each kind."""
    if request.param == "memory":
        return "sqlite://"
    if request.param == "file":
        return f"sqlite:///{tmp_path / 'state.db'}"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.new_database()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = open_database(url)
    yield opened
    opened.close()
