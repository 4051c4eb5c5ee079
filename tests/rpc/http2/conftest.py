"""One service for the tests of a module that leave it as it was."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.contract.harness import Served, served
from tests.rpc.http2.peer import LIMITS


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[Served]:
    async with served(limits=LIMITS) as it:
        yield it
