from collections.abc import Iterator

import pytest

from guerdon_service.state.database import Database, open_database
from tests.postgres_server import postgres_server

__all__ = ["postgres_server"]


@pytest.fixture
def database() -> Iterator[Database]:
    """A database of one process."""
    opened = open_database("sqlite://")
    yield opened
    opened.close()
