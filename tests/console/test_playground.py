"""Playground: score, compare, rank, and best-of-n with candidates that arrive one by one."""

from typing import Any

import pytest
from playwright.async_api import expect

from tests.console.person import Person
from tests.console.service import REPLIES, Served

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_score_shows_reward_attributes_tokens_and_who_gave_it(person: Person) -> None:
    await person.goes_to("playground/score")
    await person.page.get_by_label("Prompt").fill("What is 2 + 2?")
    await person.page.get_by_label("Response").fill("It is 4.")
    await person.page.get_by_role("button", name="Score").click()
    result = person.page.get_by_role("region", name="Result")
    await expect(result).to_contain_text("Reward")
    for told in ("helpfulness", "harmlessness", "tokens", "digest", "forward"):
        await expect(result).to_contain_text(told)
    await expect(result).not_to_contain_text("prompt cut")


async def test_a_cut_prompt_is_told(person: Person) -> None:
    await person.goes_to("playground/score")
    await person.page.get_by_label("Prompt").fill("boil an egg " * 2000)
    await person.page.get_by_label("Response").press("Control+Enter")
    await expect(person.page.get_by_role("region", name="Result")).to_contain_text("prompt cut on the left")


async def test_a_refusal_says_what_is_wrong(person: Person) -> None:
    await person.goes_to("playground/score")
    await person.page.get_by_label("Response").fill("")
    await person.page.get_by_role("button", name="Score").click()
    await expect(person.page.get_by_role("alert")).to_contain_text("about: items[0].response")
    person.forgive(422)


async def test_a_conversation_has_turns(person: Person) -> None:
    await person.goes_to("playground/score")
    await person.page.get_by_role("button", name="Add a turn").click()
    await person.page.get_by_role("button", name="Add a turn").click()
    await person.page.get_by_label("Turn 2", exact=True).fill("Soft or hard?")
    await person.page.get_by_label("Turn 3", exact=True).fill("Soft.")
    async with person.page.expect_request("**/v1/score") as asked:
        await person.page.get_by_role("button", name="Score").click()
    body: Any = (await asked.value).post_data_json
    assert [turn["role"] for turn in body["items"][0]["messages"]] == ["user", "assistant", "user"]
    await expect(person.page.get_by_role("region", name="Result")).to_contain_text("Reward")


async def test_compare_shows_the_probability_with_its_interval(person: Person) -> None:
    await person.goes_to("playground/compare")
    await person.page.get_by_role("button", name="Compare").click()
    result = person.page.get_by_role("region", name="Result")
    await expect(result).to_contain_text("P(A is preferred)")
    await expect(result).to_contain_text("interval")
    await expect(result.locator("rect.whisker")).to_have_count(1)


async def test_rank_orders_by_reward(person: Person) -> None:
    await person.goes_to("playground/rank")
    await person.page.get_by_role("button", name="Add a candidate").click()
    await person.page.get_by_label("Candidate 4", exact=True).fill("No idea.")
    await person.page.get_by_role("button", name="Rank").click()
    ranking = person.page.get_by_role("region", name="Ranking")
    await expect(ranking.locator("tbody tr")).to_have_count(4)
    rewards = [
        float(t.replace("\u2212", "-")) for t in await ranking.locator("td:nth-child(3)").all_inner_texts()
    ]
    assert rewards == sorted(rewards, reverse=True)


async def test_candidates_arrive_one_by_one_and_their_text_stays_text(
    person: Person, service: Served
) -> None:
    await person.goes_to("playground/best-of-n")
    page = person.page
    await page.get_by_label("Policy").select_option("house")
    await page.get_by_label("Responses").fill("4")
    await page.get_by_role("button", name="Sample").click()
    shown = page.locator(".ranking li")
    for number in (1, 2, 3):
        service.house.answer(1)
        await expect(shown).to_have_count(number)
        await expect(page.get_by_text(f"{number} of 4 scored")).to_be_visible()
        await expect(page.get_by_text("chosen", exact=True)).to_have_count(0)
    service.house.answer(1)
    await expect(page.get_by_text("chosen", exact=True)).to_be_visible()
    await expect(page.get_by_text("KL from the policy, at most")).to_be_visible()
    await expect(page.get_by_text(REPLIES[2])).to_be_visible()
    assert await page.evaluate("window.stolen") is None
    assert await page.locator("main img, main script").count() == 0


async def test_a_stopped_run_says_how_far_it_came(person: Person, service: Served) -> None:
    await person.goes_to("playground/best-of-n")
    page = person.page
    await page.get_by_label("Policy").select_option("house")
    await page.get_by_role("button", name="Sample").click()
    service.house.answer(1)
    await expect(page.get_by_text("1 of 8 scored")).to_be_visible()
    await page.get_by_role("button", name="Stop").click()
    await expect(page.get_by_text("Stopped: 1 of 8 scored")).to_be_visible()
    await expect(page.get_by_role("button", name="Sample")).to_be_enabled()
