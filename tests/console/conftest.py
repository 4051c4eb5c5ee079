"""One service and one browser for all tests of the console; each test has a fresh page."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.console.chromium import headless_chromium
from tests.console.person import Person, a_person
from tests.console.service import Served, served


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    async with served(tmp_path_factory.mktemp("console")) as it:
        yield it


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def browser() -> AsyncIterator[Browser]:
    async with headless_chromium() as it:
        yield it


@pytest_asyncio.fixture(loop_scope="package")
async def person(browser: Browser, service: Served) -> AsyncIterator[Person]:
    """Somebody with the operator's key at a desk; leaving, nothing may have gone wrong in the browser."""
    async with a_person(browser, service.url) as it:
        yield it
