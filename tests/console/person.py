"""Somebody at the console: a page that has the key, and notes all that a browser would complain about."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from playwright.async_api import Browser, Page, expect

from tests.console.service import OPS_KEY

DESK, PHONE = (1280, 900), (375, 812)
TIMEOUT_MS = 120_000
"""Generous, because other work may load the machine; nothing is ever waited for longer than it takes."""


@dataclass
class Person:
    """`complaints` are errors of scripts, of the console, of the security policy, and requests to others."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)
    num_visits: int = 0

    async def goes_to(self, place: str) -> None:
        """Open a page of the console by its address, and wait until it has drawn itself."""
        self.num_visits += 1  # an address that differs in its fragment alone would not be loaded anew
        await self.page.goto(f"{self.url}/console/?{self.num_visits}#/{place}")
        await expect(self.page.locator("main:not([aria-busy]) h1")).to_be_visible()

    def forgive(self, status: int) -> None:
        """The browser complains of every refusal; this one was asked for."""
        told = f"the server responded with a status of {status}"
        self.complaints = [it for it in self.complaints if told not in it]

    def listen(self) -> None:
        """Begin to note."""
        page = self.page
        page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        page.on(
            "console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None
        )
        page.on("request", lambda request: self._request(request.url))

    def _request(self, url: str) -> None:
        if not url.startswith((self.url, "blob:", "data:")):
            self.complaints.append(f"asked {url}")


@asynccontextmanager
async def a_person(
    browser: Browser,
    url: str,
    *,
    size: tuple[int, int] = DESK,
    colors: Literal["light", "dark"] = "light",
    key: str | None = OPS_KEY,
    **options: Any,
) -> AsyncIterator[Person]:
    """A fresh browser profile whose tab holds `key`; the end asserts that there was no complaint."""
    context = await browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=colors,
        reduced_motion="reduce",
        locale="en-GB",
        **options,
    )
    try:
        context.set_default_timeout(TIMEOUT_MS)
        expect.set_options(timeout=TIMEOUT_MS)
        if key is not None:
            await context.add_init_script(
                f"sessionStorage.getItem('guerdon.key') ?? sessionStorage.setItem('guerdon.key', '{key}')"
            )
        it = Person(await context.new_page(), url)
        it.listen()
        yield it
        assert not it.complaints, it.complaints
    finally:
        await context.close()
