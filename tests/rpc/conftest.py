from collections.abc import AsyncIterator

import pytest_asyncio

from guerdon_service.core.limits import Limits
from tests.contract.harness import Served, served


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[Served]:
    """An open service with small limits."""
    async with served(limits=Limits(max_body_bytes=100_000, max_items=1000, max_item_chars=20_000)) as it:
        yield it
