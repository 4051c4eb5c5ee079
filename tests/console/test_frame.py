"""The frame: files and their headers, the key, the theme, the keyboard, and the switch."""

import httpx
import pytest
from playwright.async_api import Browser, expect

from guerdon_service.app.metrics import PrometheusObserver
from guerdon_service.app.settings import Settings
from guerdon_service.console.files import HEADERS, read_files
from guerdon_service.core.auth import Keyring
from guerdon_service.core.limits import Limits
from guerdon_service.rest.app import create_app
from tests.console.person import Person, a_person
from tests.console.service import OPS_KEY, TEAM_KEY, Served
from tests.contract.harness import KEYS
from tests.domain_fakes import services_of
from tests.fakes import running_service

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_every_file_is_served_without_a_key_under_a_strict_policy(service: Served) -> None:
    async with httpx.AsyncClient(base_url=service.url, trust_env=False) as anyone:
        for path in read_files():
            reply = await anyone.get(f"/console/{path}")
            assert reply.status_code == 200
            assert HEADERS.items() <= dict(reply.headers).items()
            again = await anyone.get(f"/console/{path}", headers={"if-none-match": reply.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
        assert "unsafe" not in HEADERS["content-security-policy"]
        moved = await anyone.get("/console")
        assert (moved.status_code, moved.headers["location"]) == (308, "console/")


@pytest.mark.parametrize(
    "path", ["/console/../app/settings.py", "/console/%2e%2e/files.py", "/console/nothing", "/consoles"]
)
async def test_nothing_else_is_served_without_a_key(service: Served, path: str) -> None:
    async with httpx.AsyncClient(base_url=service.url, trust_env=False) as anyone:
        assert (await anyone.get(path)).status_code == 401
        assert (await anyone.post("/console/")).status_code == 401


async def test_it_can_be_switched_off() -> None:
    async with running_service() as fake:
        for console, status in ((Settings().console, 200), (False, 401)):
            app = create_app(
                services_of(fake),
                auth=Keyring(KEYS),
                limits=Limits(),
                observer=PrometheusObserver(),
                console=console,
            )
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as anyone:
                assert (await anyone.get("/console/")).status_code == status


async def test_without_a_key_it_is_asked_for_and_kept_in_the_tab_alone(
    browser: Browser, service: Served
) -> None:
    async with a_person(browser, service.url, key=None) as person:
        page = person.page
        await page.goto(f"{service.url}/console")
        dialog = page.get_by_role("dialog", name="API key")
        await expect(dialog).to_contain_text("authorization is missing")
        await dialog.get_by_label("Key").fill("wrong")
        await page.keyboard.press("Enter")
        await expect(dialog).to_contain_text("unknown API key")
        await dialog.get_by_label("Key").fill(OPS_KEY)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Playground")).to_be_visible()
        assert await page.evaluate("sessionStorage.getItem('guerdon.key')") == OPS_KEY
        assert OPS_KEY not in await page.evaluate("JSON.stringify(localStorage)")
        assert await page.context.cookies() == []
        await page.get_by_role("button", name="Key: set").click()
        await page.get_by_role("button", name="Forget it").click()
        await expect(dialog).to_contain_text("authorization is missing")
        assert await page.evaluate("sessionStorage.getItem('guerdon.key')") is None
        person.forgive(401)


async def test_a_key_without_the_scope_is_told_so(browser: Browser, service: Served) -> None:
    async with a_person(browser, service.url, key=TEAM_KEY) as person:
        await person.goes_to("models/demo/2")
        await person.page.get_by_role("button", name="Promote").click()
        await person.page.get_by_role("button", name="Ask the gate").click()
        await expect(person.page.get_by_role("alert")).to_contain_text("lacks the scope 'admin'")
        person.forgive(403)


async def test_the_theme_follows_the_system_until_it_is_chosen(browser: Browser, service: Served) -> None:
    async with a_person(browser, service.url, colors="dark") as person:
        await person.goes_to("playground")
        background = "getComputedStyle(document.documentElement).backgroundColor"
        dark = await person.page.evaluate(background)
        await person.page.get_by_role("button", name="Light theme").click()
        light = await person.page.evaluate(background)
        assert sum(channels(dark)) < 3 * 64 < 3 * 192 < sum(channels(light))
        await person.page.reload()
        assert await person.page.evaluate(background) == light


@pytest.mark.parametrize("place", ["constructor", "%E0%A4%A", "playground/toString", "evaluations/nobody"])
async def test_an_address_of_nothing_still_shows_a_page(person: Person, place: str) -> None:
    await person.page.goto(f"{person.url}/console/#/{place}")
    await expect(person.page.locator("main:not([aria-busy])").locator("h1, [role=alert]")).to_be_visible()
    person.forgive(404)


async def test_everything_is_reached_by_keyboard(person: Person) -> None:
    page = person.page
    await person.goes_to("playground/score")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("main")).to_be_focused()
    for _ in range(5):
        await page.keyboard.press("Tab")
    await expect(page.get_by_label("Prompt")).to_be_focused()
    outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "focus can be seen"


def channels(color: str) -> list[int]:
    return [int(float(part)) for part in color.removeprefix("rgb(").removesuffix(")").split(",")]
