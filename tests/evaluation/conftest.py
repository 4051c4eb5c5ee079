from collections.abc import Iterator
from pathlib import Path

import pytest

from guerdon_service.state.database import open_database
from guerdon_service.state.evaluation_store import SqlEvaluationStore
from tests.evaluation.data import pairs, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with ``pairs.jsonl.gz``, 300 pairs."""
    path = tmp_path / "data"
    path.mkdir()
    write(path / "pairs.jsonl.gz", pairs(300))
    return path


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'state.db'}"


@pytest.fixture
def store(url: str) -> Iterator[SqlEvaluationStore]:
    database = open_database(url)
    yield SqlEvaluationStore(database)
    database.close()
