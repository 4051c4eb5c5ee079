"""Evaluations: start on a file or on pasted records, watch, cancel, read, hold two beside each other."""

import json
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from guerdon.cli.demo_preferences import for_calibration, held_out
from tests.console.person import Person
from tests.console.service import DATASET, Served

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def start(page: Page, candidate: str, baseline: str | None = None, profile: str | None = None) -> None:
    await page.get_by_label("Candidate").select_option(candidate)
    if profile:
        await page.get_by_label("Profile").select_option(profile)
    if baseline:
        await page.get_by_label("Baseline").select_option(baseline)
    await page.get_by_role("button", name="Start").click()


async def test_an_evaluation_is_started_watched_and_its_report_read(
    person: Person, service: Served, tmp_path: Path
) -> None:
    page = person.page
    await person.goes_to("evaluations")
    await page.get_by_label("Data set").fill(DATASET)
    await page.get_by_label("Robustness").fill("3")
    await start(page, "demo@2", "demo@1", "helpfulness")
    await expect(page.get_by_role("heading", name="demo@2 against demo@1")).to_be_visible()
    found = page.get_by_role("region", name="What it found")
    await expect(found).to_contain_text("Verdict")
    await expect(page.get_by_role("heading", name="Calibration")).to_be_visible()
    robustness = page.get_by_role("region", name="Robustness").locator("tbody tr")
    assert {"candidate", "baseline"} == set(await robustness.locator("td:first-child").all_inner_texts())
    await expect(page.get_by_text("Log loss less the baseline's")).to_be_visible()
    await expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    done = await service.ask("GET", f"/v1/evaluations/{page.url.rsplit('/', 1)[1]}")
    assert done["report"]["candidate"]["model"]["profile"] == "helpfulness"
    assert done["report"]["candidate"]["robustness"][0]["num_pairs"] == 3
    await expect(found).to_contain_text(f"{done['accuracy']['value'] * 100:.1f}\u2009%")
    await expect(found).to_contain_text(done["verdict"])
    async with page.expect_download() as saving:
        await page.get_by_role("button", name="Download the report").click()
    saved = await saving.value
    await saved.save_as(tmp_path / "report.html")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await person.goes_to("evaluations")
    rows = page.get_by_role("region", name="Evaluations").get_by_role("row")
    row = rows.filter(has_text="demo@1").first  # the newest: others have asked for such, too
    accuracy = done["accuracy"]
    for told in (done["verdict"], f"{accuracy['value']:.3f} [{accuracy['low']:.3f}", str(done["num_items"])):
        await expect(row).to_contain_text(told)
    assert not [url for url in asked if "/v1/evaluations/" in url], "the list has the figures itself"
    assert "<!doctype html>" in (tmp_path / "report.html").read_text("utf-8")[:100].lower()


async def test_pasted_records_are_kept_and_measured_and_two_runs_stand_beside_each_other(
    person: Person, service: Served
) -> None:
    page = person.page
    for number, candidate in enumerate(("demo@1", "demo@2")):
        await person.goes_to("evaluations")
        await page.get_by_text("Paste or upload records").click()
        await page.get_by_label("Data set").fill(f"pasted-{number}.jsonl")
        records = [
            *for_calibration()[:6],
            {"prompt": "Say \u00fc.", "chosen": "<b>\u00fc</b>", "rejected": "u"},
        ]
        await page.get_by_label("Records").fill("\n".join(json.dumps(record) for record in records))
        await start(page, candidate)
        await expect(page.get_by_role("region", name="What it found")).to_contain_text("7 about")
    await person.goes_to("evaluations")
    for number in range(2):
        await page.get_by_role("row", name=f"pasted-{number}.jsonl").get_by_role("checkbox").check()
    await page.get_by_role("button", name="Hold two beside each other").click()
    both = page.get_by_role("region", name="Figures of both")
    await expect(both).to_contain_text("demo@1")
    await expect(both).to_contain_text("demo@2")
    await expect(page.get_by_text("Both are about the same data")).to_be_visible()


async def test_an_uploaded_file_fills_the_records(person: Person, tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text(json.dumps(held_out()[0]), encoding="utf-8")
    await person.goes_to("evaluations")
    await person.page.get_by_text("Paste or upload records").click()
    await person.page.get_by_label("Or a file").set_input_files(file)
    await expect(person.page.get_by_label("Records")).to_have_value(file.read_text("utf-8"))


async def test_a_wrong_line_is_named_before_anything_is_sent(person: Person, service: Served) -> None:
    await person.goes_to("evaluations")
    before = await service.ask("GET", "/v1/evaluations")
    await person.page.get_by_text("Paste or upload records").click()
    await person.page.get_by_label("Records").fill('{"prompt": "p"}\n\n{"prompt": ')
    await person.page.get_by_role("button", name="Start").click()
    await expect(person.page.get_by_role("alert")).to_contain_text("Line 3 is not JSON")
    assert await service.ask("GET", "/v1/evaluations") == before


async def test_a_running_evaluation_can_be_cancelled(person: Person, service: Served) -> None:
    page = person.page
    many = [{**record, "id": f"{i}"} for i, record in enumerate(held_out() * 40)]
    await service.ask("POST", "/v1/datasets", {"name": "many.jsonl", "records": many})
    await person.goes_to("evaluations")
    await page.get_by_label("Data set").fill("many.jsonl")
    await start(page, "demo@1", "demo@2")
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.get_by_role("region", name="Progress")).to_contain_text("cancelled")
    await expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
