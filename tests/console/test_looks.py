"""Every page, light and dark, at a desk and on a phone: accessible, no wider than it, photographed."""

import os
from importlib.resources import files
from pathlib import Path
from typing import Literal

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.console.person import DESK, PHONE, Person, a_person
from tests.console.service import DATASET, Served

pytestmark = pytest.mark.asyncio(loop_scope="package")

SHOTS = Path(os.environ.get("GUERDON_SCREENSHOTS", "build/screenshots"))
"""CI keeps this folder; git ignores it."""
AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
SERIOUS = ("serious", "critical")
PLACES = {
    "score": "playground/score",
    "compare": "playground/compare",
    "rank": "playground/rank",
    "best-of-n": "playground/best-of-n",
    "models": "models",
    "model": "models/demo/2",
    "promote": "models/demo/2",
    "evaluations": "evaluations",
    "evaluation": "evaluations/{done}",
    "beside": "evaluations/compare/{done}/{done}",
    "feedback": "feedback",
    "labelling": "feedback",
    "live": "live",
    "api": "api/ScoreRequest",
}
LOOKS: tuple[tuple[tuple[int, int], Literal["light", "dark"]], ...] = (
    (DESK, "light"),
    (DESK, "dark"),
    (PHONE, "light"),
    (PHONE, "dark"),
)
CHECKED = (LOOKS[0], LOOKS[3])
"""Both themes and both widths; axe-core takes a second of each."""
SUBMIT = {"score": "Score", "compare": "Compare", "rank": "Rank", "best-of-n": "Sample"}


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def done(service: Served) -> str:
    """A finished evaluation."""
    body = {"candidate": "demo@2", "baseline": "demo@1", "dataset": DATASET, "robustness": 2}
    started = await service.ask("POST", "/v1/evaluations", body)
    async with service.rest.stream("GET", f"/v1/evaluations/{started['id']}/events") as events:
        await events.aread()
    return str(started["id"])


async def arrange(person: Person, name: str, service: Served) -> None:
    """Bring the page to where it shows something."""
    page = person.page
    if name in SUBMIT:
        if name == "best-of-n":
            await page.get_by_label("Policy").select_option("house")
            service.house.answer(8)
        await page.get_by_role("button", name=SUBMIT[name]).click()
        await expect(page.locator(".provenance")).to_be_visible()
    elif name == "model":
        await page.get_by_text("Model card").click()
        await expect(page.locator(".prose table").last).to_be_visible()
    elif name == "api":
        await page.get_by_text("/v1/models/{name}/versions/{version}/card").click()
        await expect(page.get_by_role("table")).to_have_count(3)
    elif name == "promote":
        await page.get_by_role("button", name="Promote").click()
        await page.get_by_role("button", name="Ask the gate").click()
        await expect(page.get_by_role("alert")).to_be_visible()
    elif name == "live":
        for number in range(6):
            items = [{"prompt": f"look {i}", "response": "yes"} for i in range(number)]
            await service.ask("POST", "/v1/score", {"items": [*items, {"prompt": "p", "response": "r"}]})
            async with page.expect_response("**/metrics"):
                await page.get_by_role("button", name="Look now").click()
    elif name == "labelling":
        await page.get_by_label("Pairs", exact=True).fill(
            '{"prompt": "What is 2 + 2?", "a": "4.", "b": "I think it is 5."}'
        )
        await page.get_by_role("button", name="Begin").click()
        await expect(page.locator(".answer")).to_have_count(2)


async def findings(page: Page) -> list[str]:
    """What axe-core holds against the page, if it is serious."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(AXE)
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{it['id']}: {node['html']} {node['failureSummary']}"
        for it in found["violations"]
        if it["impact"] in SERIOUS
        for node in it["nodes"]
    ]


async def test_the_check_finds_what_is_wrong(person: Person) -> None:
    await person.page.set_content("<main><h1>h</h1><button></button><p style='color: #ccc'>pale</p></main>")
    assert {told.split(":")[0] for told in await findings(person.page)} >= {"button-name", "color-contrast"}


@pytest.mark.parametrize("name", PLACES)
async def test_every_page(browser: Browser, service: Served, done: str, name: str) -> None:
    wrong: list[str] = []
    # The policy would stop axe-core, which makes markup of strings; all other tests run under it.
    async with a_person(browser, service.url, bypass_csp=True) as person:
        await person.goes_to(PLACES[name].format(done=done))
        await arrange(person, name, service)
        for look in LOOKS:
            wrong += await looked_at(person.page, name, *look)
        person.forgive(409)
    assert not wrong, wrong


async def looked_at(
    page: Page, name: str, size: tuple[int, int], colors: Literal["light", "dark"]
) -> list[str]:
    """What is wrong with this look of the page, which is photographed."""
    await page.set_viewport_size({"width": size[0], "height": size[1]})
    await page.emulate_media(color_scheme=colors, reduced_motion="reduce")
    await page.screenshot(path=SHOTS / f"{name}-{size[0]}-{colors}.png", full_page=size == DESK)
    width = await page.evaluate("document.documentElement.scrollWidth")
    told = [f"{width} wide"] if width > size[0] else []
    if (size, colors) in CHECKED:
        told += await findings(page)
    return [f"{size[0]} {colors}: {it}" for it in told]
