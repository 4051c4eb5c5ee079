"""`guerdon data` from the command line to the reports."""

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

from guerdon_service.core.errors import InvalidInput
from guerdon_training.audit.check import Verdict
from guerdon_training.audit.cli import data_command
from guerdon_training.audit.registry import CHECKS
from guerdon_training.audit.report import audit, report_json
from guerdon_training.audit.report_html import report_html
from tests.training_audit.synthetic import WORDS, Files, clean_files


def _write(files: Files, folder: Path) -> list[str]:
    files.records(folder)  # leaves the three files behind
    return [str(folder / "pairs.jsonl"), str(folder / "judgements.jsonl")]


def test_audit_writes_json_and_html_and_exits_with_zero(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = _write(clean_files(), tmp_path)
    against = ["--against", str(tmp_path / "evaluation.jsonl")]
    out = ["--json", str(tmp_path / "out" / "a.json"), "--html", str(tmp_path / "out" / "a.html")]
    assert data_command(["audit", *paths, *against, *out]) == 0
    report = json.loads((tmp_path / "out" / "a.json").read_text("utf-8"))
    assert report["verdict"] == "pass"
    assert [f["role"] for f in report["files"]] == ["audited", "audited", "evaluation"]
    assert [c["name"] for c in report["checks"]] == [c.__name__.removeprefix("check_") for c in CHECKS]
    assert (tmp_path / "out" / "a.html").read_text("utf-8").startswith("<!doctype html>")
    printed = capsys.readouterr().out
    assert all(check["name"] in printed for check in report["checks"])


def test_failing_audit_exits_with_one(tmp_path: Path) -> None:
    files = clean_files()
    files.pairs[3]["rejected"] = files.pairs[3]["chosen"]
    assert data_command(["audit", *_write(files, tmp_path)]) == 1


def test_bad_input_is_refused_with_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}\n")
    with pytest.raises(InvalidInput, match=r"a\.jsonl:1"):
        data_command(["audit", str(tmp_path / "a.jsonl")])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-tokens", "64"], "--max-tokens needs --tokenizer"),
        (["--max-tokens", "64", "--tokenizer", "none"], "--tokenizer none is no folder"),
        (["--max-chars", "-1"], "must be at least 1"),
    ],
)
def test_bad_budget_is_refused(options: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=message):
        data_command(["audit", *_write(clean_files(), tmp_path), *options])


def test_token_budget_counts_tokens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Words are tokens here: prompts have 10 and responses at least 15, so a cut at 12 leaves them apart."""
    vocabulary = {word: i for i, word in enumerate(["[UNK]", *dict.fromkeys(WORDS)])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(tmp_path / "words")
    options = ["--max-tokens", "12", "--tokenizer", str(tmp_path / "words")]
    assert data_command(["audit", *_write(clean_files(), tmp_path), *options]) == 0
    assert "at 12 tokens: 0 equal when cut from the left, 0 from the right" in capsys.readouterr().out


def test_same_data_gives_the_same_bytes(tmp_path: Path) -> None:
    files = clean_files()
    first, second = (report_json(audit(files.records(tmp_path))) for _ in range(2))
    assert first == second


def test_page_stands_alone_is_well_formed_and_shows_no_text_of_the_data(tmp_path: Path) -> None:
    files = clean_files()
    files.copy(files.pairs[3])
    files.pair(source="<b>&tiny")
    report = audit(files.records(tmp_path))
    page = report_html(report)
    assert "http" not in page and "<script" not in page and "url(" not in page
    assert "prefers-color-scheme: dark" in page
    root = ElementTree.fromstring(page.removeprefix("<!doctype html>"))
    assert len(root.findall(".//section")) == len(CHECKS)
    assert len(root.findall(".//svg")) >= 6
    assert "&lt;b&gt;&amp;tiny" in page
    text = files.pairs[3]["chosen"]
    assert text not in page and text not in report_json(report)
    assert f"{tmp_path / 'pairs.jsonl'}:4" in page
    assert report.verdict is Verdict.WARN


def test_convert_writes_records_and_lists_what_it_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.jsonl"
    source.write_text("prompt,chosen,rejected\nx,a,b\nx,a,a\n", encoding="utf-8")
    assert data_command(["convert", str(source), str(target), "--from", "csv"]) == 0
    captured = capsys.readouterr()
    assert "1 records" in captured.out
    assert "in.csv:3: chosen equals rejected" in captured.err
    assert len(target.read_text().splitlines()) == 1


def test_convert_refuses_an_unknown_format() -> None:
    with pytest.raises(SystemExit):
        data_command(["convert", "a", "b", "--from", "xml"])


def test_documentation_names_every_check() -> None:
    page = (Path(__file__).parents[2] / "docs" / "data-audit.md").read_text("utf-8")
    assert {c.__name__.removeprefix("check_") for c in CHECKS} <= set(re.findall(r"`(\w+)`", page))
