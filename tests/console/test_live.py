"""Live: the charts move with what the service does."""

import re

import pytest
from playwright.async_api import expect

from tests.console.person import Person
from tests.console.service import Served

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_what_the_service_does_is_drawn(person: Person, service: Served) -> None:
    page = person.page
    await person.goes_to("live")
    await page.get_by_role("button", name="Pause").click()
    items = [{"prompt": f"live {i}", "response": "yes"} for i in range(8)]
    await service.ask("POST", "/v1/score", {"items": items})
    await service.ask("POST", "/v1/score", {"items": items})
    await page.get_by_role("button", name="Look now").click()
    tokens = page.get_by_role("img", name=re.compile("^Tokens per second: now [1-9]"))
    await expect(tokens.locator("polyline")).to_have_count(1)
    await expect(page.get_by_role("img", name=re.compile("^Cache hits: now 50"))).to_be_visible()
    await expect(
        page.get_by_role("img", name=re.compile("^95th percentile: now [0-9.]+ m?s"))
    ).to_be_visible()
    verbs = page.get_by_role("region", name="Requests by verb")
    await expect(verbs.get_by_role("row").filter(has_text="score")).to_contain_text("rest")
    await expect(page.get_by_text("This audits rather than warns")).to_be_visible()


async def test_it_can_be_paused(person: Person) -> None:
    await person.goes_to("live")
    await person.page.get_by_role("button", name="Pause").click()
    await expect(person.page.get_by_role("button", name="Go on")).to_be_visible()
    drawn = await person.page.get_by_role("img", name=re.compile("^Requests per second")).get_attribute(
        "aria-label"
    )
    await person.page.get_by_role("button", name="Look now").click()
    await expect(
        person.page.get_by_role("img", name=re.compile("^Requests per second"))
    ).not_to_have_attribute("aria-label", drawn or "")
