"""A running service, and one thread for every test."""

from collections.abc import AsyncIterator

import pytest

from guerdon_service.scoring.service import ScoringService
from tests.fakes import running_service
from tests.threads import one_thread

__all__ = ["one_thread", "scorer"]


@pytest.fixture
async def scorer() -> AsyncIterator[ScoringService]:
    async with running_service() as service:
        yield service
