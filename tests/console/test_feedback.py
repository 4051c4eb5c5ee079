"""Feedback: labelling by keyboard with ties, skips and undo; what is stored is what was judged and shown."""

import asyncio
import json
from typing import Any

import pytest
from playwright.async_api import APIResponse, Page, Request, Route, expect

from tests.console.person import Person
from tests.console.service import REPLIES, Served

pytestmark = pytest.mark.asyncio(loop_scope="package")

PAIRS = [{"prompt": f"Question {i}?", "chosen": f"Good {i}.", "rejected": f"Bad {i}."} for i in range(6)]


class Sent:
    """Judgements on their way to the service."""

    def __init__(self, page: Page) -> None:
        self.bodies: list[dict[str, Any]] = []
        page.on("request", self._note)

    def _note(self, request: Request) -> None:
        if request.url.endswith("/v1/feedback"):
            body: Any = request.post_data_json
            self.bodies.append(body)


async def begin(person: Person, annotator: str, pairs: list[dict[str, str]], model: str = "") -> None:
    await person.goes_to("feedback")
    await person.page.get_by_label("Who judges").fill(annotator)
    if model:
        await person.page.get_by_label("Agree with").select_option(model)
    await person.page.get_by_label("Pairs", exact=True).fill("\n".join(json.dumps(pair) for pair in pairs))
    await person.page.get_by_role("button", name="Begin").click()
    await expect(person.page.get_by_text(f"0 of {len(pairs)} seen")).to_be_visible()


async def shown(page: Page) -> tuple[str, str]:
    left, right = await page.locator(".answer p").all_inner_texts()
    return left, right


async def test_labelling_by_keyboard_with_a_tie_a_skip_and_undo(person: Person) -> None:
    page, sent = person.page, Sent(person.page)
    await begin(person, "ann", PAIRS)
    first = await shown(page)
    await page.keyboard.press("ArrowRight")
    await expect(page.get_by_text("1 of 6 seen, 0 stored, 1 waiting")).to_be_visible()
    await page.keyboard.press("u")
    await expect(page.get_by_text("0 of 6 seen, 0 stored, 0 waiting")).to_be_visible()
    assert await shown(page) == first, "the same pair, the same way round"
    await page.keyboard.press("ArrowLeft")
    second = await shown(page)
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("s")
    await page.keyboard.press("Control+z")  # the skip
    third = await shown(page)
    await page.keyboard.press("3")
    await page.keyboard.press("s")
    await page.get_by_role("button", name="Left is better").click()
    await page.keyboard.press("t")
    await expect(page.get_by_text("That was the last pair")).to_be_visible()
    await page.get_by_role("button", name="Finish").click()
    await expect(page.get_by_text("5 judgements stored.")).to_be_visible()
    assert [(it["chosen"], it["rejected"], it["tie"]) for it in sent.bodies[:3]] == [
        (*first, False),
        (*second, True),
        (*reversed(third), False),
    ]
    assert [it["shown"] for it in sent.bodies[:3]] == [list(first), list(second), list(third)]
    assert {it["annotator"] for it in sent.bodies} == {"ann"}
    assert len({it["id"] for it in sent.bodies}) == 5


async def test_the_order_is_random(person: Person) -> None:
    many = [{"prompt": f"Q{i}", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(40)]
    await begin(person, "ann", many)
    seen = []
    for _ in many:
        seen.append(await shown(person.page))
        await person.page.keyboard.press("s")
    assert 5 <= sum(left.startswith("good") for left, _ in seen) <= 35, "one in a million otherwise"
    assert [left.split()[1] for left, _ in seen] != [str(i) for i in range(40)]
    await expect(person.page.get_by_text("40 of 40 seen, 0 stored, 0 waiting")).to_be_visible()


async def test_what_waits_is_sent_when_the_page_is_left(person: Person) -> None:
    await begin(person, "ann", PAIRS[:2])
    await person.page.keyboard.press("ArrowLeft")
    async with person.page.expect_response("**/v1/feedback") as stored:
        await person.page.get_by_role("link", name="Live").click()
    assert (await stored.value).status == 201


async def test_agreement_with_labels_model_and_others_is_told(person: Person) -> None:
    page = person.page
    pairs = [{"prompt": f"Which {i}?", "chosen": f"This {i}.", "rejected": f"That {i}."} for i in range(3)]
    for annotator in ("ben", "cem"):
        await begin(person, annotator, pairs, "demo@1")
        for _ in pairs:
            left, _right = await shown(page)
            await page.keyboard.press("ArrowLeft" if left.startswith("This") else "ArrowRight")
        await page.get_by_role("button", name="Finish").click()
        await expect(page.get_by_text("3 of 3 agree with the labels of the records.")).to_be_visible()
        await expect(page.get_by_text("demo@1 prefers the same answer in")).to_be_visible()
    agreement = page.get_by_role("region", name="Agreement")
    await expect(agreement).to_contain_text("alpha")
    for annotator in ("ben", "cem"):
        await expect(agreement).to_contain_text(annotator)


async def test_agreement_moves_while_somebody_judges(person: Person, service: Served) -> None:
    pairs = [{"prompt": f"So far {i}?", "chosen": f"Yes {i}.", "rejected": f"No {i}."} for i in range(5)]
    for pair in pairs:
        await service.ask("POST", "/v1/feedback", {**pair, "annotator": "dan"})
    await begin(person, "eve", pairs)
    agreement = person.page.get_by_role("region", name="Agreement")
    await expect(agreement).to_contain_text("Agreement so far")
    await expect(agreement).not_to_contain_text("eve")
    for _ in range(4):  # the last three wait
        await person.page.keyboard.press("ArrowLeft")
    await expect(agreement.get_by_role("row").filter(has_text="eve")).to_contain_text("1")
    await expect(person.page.get_by_text("4 of 5 seen, 1 stored, 3 waiting")).to_be_visible()


async def test_an_answer_that_was_overtaken_is_not_drawn(person: Person, service: Served) -> None:
    pairs = [{"prompt": f"Late {i}?", "chosen": f"Yes {i}.", "rejected": f"No {i}."} for i in range(5)]
    for pair in pairs:
        await service.ask("POST", "/v1/feedback", {**pair, "annotator": "fay"})
    held: asyncio.Queue[tuple[Route, APIResponse]] = asyncio.Queue()

    async def hold(route: Route) -> None:
        await held.put((route, await route.fetch()))

    await person.page.route("**/v1/feedback/agreement", hold, times=1)
    await begin(person, "gil", pairs)
    route, before = await held.get()
    for _ in range(4):
        await person.page.keyboard.press("ArrowLeft")
    row = person.page.get_by_role("region", name="Agreement").get_by_role("row").filter(has_text="gil")
    await expect(row).to_contain_text("1")
    async with person.page.expect_event("requestfinished", lambda it: it.url.endswith("/agreement")):
        await route.fulfill(response=before)
    await person.page.evaluate("() => new Promise(requestAnimationFrame)")  # time to draw it, as it would
    await expect(row).to_contain_text("1")


async def test_answers_can_be_sampled_and_their_text_stays_text(person: Person, service: Served) -> None:
    page = person.page
    await person.goes_to("feedback")
    await page.get_by_label("Answers from").select_option("house")
    await page.get_by_label("Prompts").fill("How do I boil an egg?")
    service.house.answer(2)
    await page.get_by_role("button", name="Begin").click()
    await expect(page.locator(".answer")).to_have_count(2)
    assert set(await shown(page)) == set(REPLIES[:2])


async def test_markup_in_a_pair_is_shown_and_never_run(person: Person) -> None:
    await begin(person, "ann", [{"prompt": "<b>p</b>", "a": REPLIES[2], "b": "plain"}])
    assert REPLIES[2] in await shown(person.page)
    assert await person.page.evaluate("window.stolen") is None
    assert await person.page.locator("main b, main img, main script").count() == 0
