"""The page of the API: what the service says of itself, without a request to anybody else."""

import re

import pytest
from playwright.async_api import expect

from guerdon_service.console.files import read_files
from tests.console.person import Person
from tests.console.service import Served

pytestmark = pytest.mark.asyncio(loop_scope="package")

NAMESPACES = {"www.w3.org"}
"""Hosts in names of XML namespaces, which nobody asks."""


async def test_it_shows_every_route_and_shape(person: Person, service: Served) -> None:
    page = person.page
    await page.goto(f"{person.url}/docs")
    await expect(page.get_by_role("heading", name="API", exact=True)).to_be_visible()
    document = await service.ask("GET", "/openapi.json")
    routes, shapes = (page.get_by_role("region", name=name) for name in ("Routes", "Shapes"))
    await expect(routes.locator("summary")).to_have_count(sum(map(len, document["paths"].values())))
    await expect(shapes.locator("summary")).to_have_count(len(document["components"]["schemas"]))
    await expect(page.get_by_role("link", name="API")).to_have_attribute("aria-current", "page")
    await routes.get_by_text("/v1/score", exact=True).click()
    replies = routes.get_by_role("region", name="Replies of post /v1/score")
    await expect(replies.get_by_role("row").filter(has_text="429")).to_contain_text("Too Many Requests")
    await routes.get_by_role("link", name="ScoreRequest").click()
    fields = shapes.get_by_role("region", name="Fields of ScoreRequest")
    items = fields.get_by_role("row").filter(has_text="items")
    for told in ("needed", "list of ScoreItem", "items, at least 1"):
        await expect(items.first).to_contain_text(told)
    await expect(shapes.locator("details[open] pre").first).to_contain_text("What is 2 + 2?")


async def test_nothing_that_is_served_names_another_host() -> None:
    for path, file in read_files().items():
        text = file.content.decode()
        assert set(re.findall(r"https?://([\w.:-]+)", text)) <= NAMESPACES, path
        assert not re.search(r"[\"'(=]\s*//\w", text), f"{path}: an address that only lacks its scheme"
