"""HTML, Markdown and terminal: complete, and nothing from the data becomes markup."""

import json
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from guerdon_service.core.evaluation import ItemScores
from guerdon_service.core.result import Provenance
from guerdon_service.evaluation import figures
from guerdon_service.evaluation.build_report import Contender, Data, build_report
from guerdon_service.evaluation.disagreements import MAX_CHARS, MAX_SHOWN
from guerdon_service.evaluation.html import report_html
from guerdon_service.evaluation.markdown import report_markdown
from guerdon_service.evaluation.plain import report_plain
from guerdon_service.evaluation.read import data_sha256, read_items
from guerdon_service.evaluation.report import RobustnessRow, to_json
from guerdon_service.evaluation.rewardbench_json import rewardbench_json
from tests.evaluation.data import pairs, write

HOSTILE = "</td></pre><script>alert(1)</script><img src=x onerror=alert(2)> & \" ' ` | **bold** [link](x)"


def contender(path: Path, name: str, sign: float, rows: tuple[RobustnessRow, ...] = ()) -> Contender:
    model = Provenance(name, "1", f"digest-of-{name}", "quality", "fake", "float32")
    kept = {
        item.id: ItemScores(item.id, tuple(sign * (len(r) + ord(r[0]) / 50) for r in item.responses))
        for item in read_items([path])
    }
    return Contender(model, 0.3, lambda: kept, rows)


def report_of(path: Path, *, baseline: bool = True) -> Any:
    data = Data((path,), data_sha256([path]))
    theirs = contender(path, "old", -1.0) if baseline else None
    plain = to_json(build_report(data, contender(path, "new", 1.0), theirs, 0.02))
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    return plain


class Page(HTMLParser):
    """Tags that are open, those that were seen, and the texts between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def hostile_records() -> list[dict[str, Any]]:
    records = pairs(120)
    for record in records:
        record["id"] = HOSTILE + record["id"]
        record["subset"] = HOSTILE + record["subset"]
        record["tags"] = [HOSTILE]
        record["demographics"] = {HOSTILE: HOSTILE}
        record["prompt"] = [{"role": "user", "content": HOSTILE + record["prompt"][0]["content"]}]
        record["chosen"] += HOSTILE
        record["rejected"] += HOSTILE
    return records


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    path = write(tmp_path / "<b>pairs.jsonl", hostile_records())
    report = report_of(path)
    assert report["disagreements"]
    page = Page(report_html(report))
    assert page.open == []
    assert page.tags.count("script") == 1
    assert not {"img", "a"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "href")]
    assert any(HOSTILE in text for text in page.texts)
    notes = report_markdown(report)
    assert "<script" not in notes and "<img" not in notes
    rows = [line for line in notes.splitlines() if line.startswith("| ")]
    assert all(line.replace("\\|", "").count("|") in (4, 7, 9) for line in rows)


def test_p_values_are_named_as_such_wherever_they_are_read(tmp_path: Path) -> None:
    """Beside a difference below zero a column "p better" of 0.95 read as a probability."""
    path = write(tmp_path / "pairs.jsonl", pairs(150))
    report = report_of(path)
    note = figures.p_values(report)
    assert note is not None and "not the probability of the claim" in note and "margin 0.02" in note
    assert "below 0.025" in note
    page = "".join(Page(report_html(report)).texts)
    for text in (page, report_markdown(report), report_plain(report)):
        assert note in text
        for name in ("p-value: better", "p-value: not worse", "p-value: any difference"):
            assert name in text
        assert "p better" not in text and "p not worse" not in text
    alone = report_of(path, baseline=False)
    assert figures.p_values(alone) is None
    assert "p-value" not in report_html(alone) + report_markdown(alone) + report_plain(alone)


def test_a_report_says_whether_the_candidate_follows_length_more(tmp_path: Path) -> None:
    """Both models go by length alone, one of them for the shorter."""
    report = report_of(write(tmp_path / "pairs.jsonl", pairs(150)))
    note = figures.length_rise(report)
    assert note is not None and note.endswith(figures.interval({"value": 0.0, "low": 0.0, "high": 0.0}))
    what = note.partition(":")[0]
    assert all(what in text for text in (report_html(report), report_markdown(report), report_plain(report)))
    older = {key: value for key, value in report.items() if key != "length_rise"}
    assert figures.length_rise(older) is None
    assert what not in report_html(older) + report_markdown(older) + report_plain(older)


def test_the_page_holds_everything_and_asks_for_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "pairs.jsonl", pairs(150))
    report = report_of(path)
    text = report_html(report)
    page = Page(text)
    joined = "\n".join(page.texts)
    for part in report["candidate"]["slices"]:
        assert f"{part['kind']} {part['name']}" in joined
        assert figures.interval(part["found"]["accuracy"]) in joined
    for value in ("digest-of-new", "digest-of-old", report["data"]["sha256"], "pairs.jsonl"):
        assert value in joined
    for shown in report["disagreements"]:
        assert shown["preferred"] in joined and shown["scored_higher"] in joined
    assert page.tags.count("svg") == 2
    bins = report["candidate"]["calibration"]["error"]["bins"]
    slices = report["candidate"]["slices"]
    assert page.tags.count("circle") == len(bins) + len(slices) + 1
    assert report["comparison"]["verdict"] in joined
    assert "http" not in text and "url(" not in text and "@import" not in text


def test_without_a_baseline_there_is_no_verdict(tmp_path: Path) -> None:
    path = write(tmp_path / "pairs.jsonl", pairs(40))
    report = report_of(path, baseline=False)
    assert report["comparison"] is None and report["baseline"] is None
    assert "badge better" not in report_html(report)
    assert report_markdown(report).startswith("### Evaluation: accuracy ")
    assert all(len(row) == 2 for row in figures.summary(report))


def test_the_worst_disagreements_come_first_and_are_cut(tmp_path: Path) -> None:
    records = pairs(90)
    records[7]["rejected"] = "z" * (MAX_CHARS + 500)
    path = write(tmp_path / "pairs.jsonl", records)
    shown = report_of(path)["disagreements"]
    assert len(shown) == MAX_SHOWN
    assert shown[0]["id"] == "pair-7"
    assert shown[0]["scored_higher"] == "z" * MAX_CHARS + "…"
    margins = [d["reward_scored_higher"] - d["reward_preferred"] for d in shown]
    assert margins == sorted(margins, reverse=True)
    assert all(d["probability"] < 0.5 for d in shown)


def test_rewardbench_shape(tmp_path: Path) -> None:
    names = ("alpacaeval-easy", "hep-go")
    records = [{**r, "subset": names[i % 2]} for i, r in enumerate(pairs(40))]
    path = write(tmp_path / "pairs.jsonl", records)
    report = report_of(path)
    flat = rewardbench_json(report)
    assert flat.keys() == {*names, "model", "model_type", "chat_template"}
    assert all(0 <= flat[name] <= 1 for name in names)
    bench = report["candidate"]["rewardbench"]
    assert bench["sections"]["Chat"] == pytest.approx(flat["alpacaeval-easy"])


def test_terminal_tables_are_aligned() -> None:
    text = figures.table([("name", "n"), ("a longer name", "1"), ("b", "22")])
    assert text == "name           n\na longer name  1\nb              22\n"
