"""Figures of single checks on data small enough to count by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from guerdon_training.audit.check import Check, Verdict, worst
from guerdon_training.audit.checks.counts import check_counts
from guerdon_training.audit.checks.exact_duplicates import check_exact_duplicates
from guerdon_training.audit.checks.format_bias import check_format_bias
from guerdon_training.audit.checks.length_bias import check_length_bias
from guerdon_training.audit.checks.near_duplicates import check_near_duplicates
from guerdon_training.audit.checks.position_bias import check_position_bias
from guerdon_training.audit.checks.prompt_text import check_prompt_text
from guerdon_training.audit.checks.split_leakage import check_split_leakage
from guerdon_training.audit.checks.swapped_labels import check_swapped_labels
from guerdon_training.audit.checks.transitivity import check_transitivity
from guerdon_training.audit.checks.truncation import check_truncation
from guerdon_training.audit.read import read_records
from guerdon_training.audit.records import Budget, Records
from guerdon_training.audit.script import script_of
from guerdon_training.audit.style_features import FEATURES

Row = dict[str, Any]


def _records(folder: Path, *rows: Row, **options: Any) -> Records:
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return read_records([path], **options)


def _pair(chosen: str, rejected: str, prompt: str = "q", **fields: Any) -> Row:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected} | fields


def _value(check: Check, name: str, group: str = "") -> float:
    return next(f.value for f in check.findings if (f.name, f.group) == (name, group))


def test_two_annotators_on_one_pair_are_neither_duplicates_nor_swapped(tmp_path: Path) -> None:
    rows = [_pair("a", "b", annotator="p"), _pair("a", "b", annotator="q"), _pair("b", "a", annotator="r")]
    records = _records(tmp_path, *rows)
    assert check_exact_duplicates(records).verdict is Verdict.PASS
    assert check_swapped_labels(records).verdict is Verdict.PASS
    records = _records(tmp_path, *rows, _pair("b", "a", annotator="p"))
    assert check_swapped_labels(records).verdict is Verdict.FAIL


def test_near_pairs_with_opposite_labels_are_counted(tmp_path: Path) -> None:
    a, b = "the quick brown fox jumps over the lazy dog", "colourless green ideas sleep furiously tonight"
    check = check_near_duplicates(_records(tmp_path, _pair(a, b), _pair(b + "!", a)))
    assert _value(check, "near pairs with opposite labels") == 1
    assert _value(check, "pairs near an earlier one") == 0
    assert check.verdict is Verdict.WARN


def test_longer_wins_counts_a_tie_as_half(tmp_path: Path) -> None:
    rows = [_pair("aaa", "b", "1"), _pair("a", "bbb", "2"), _pair("aaaa", "b", "3"), _pair("a", "b", "4")]
    check = check_length_bias(_records(tmp_path, *rows))
    assert _value(check, "longer wins") == 2.5 / 4
    assert _value(check, "shorter wins") == 1.5 / 4
    assert _value(check, "longer wins", "longer by 2x to 4x") == 2 / 3


def test_a_tie_says_nothing_of_what_wins(tmp_path: Path) -> None:
    """Whichever of two tied responses is called chosen: no rule, no cycle and no contradiction."""
    tied = {"votes": {"chosen": 1, "rejected": 1}, "chosen_position": "first"}
    rows = [_pair("aaa", "b", str(i), **tied) for i in range(9)]
    rows += [_pair("a", "bb", "0", chosen_position="second"), _pair("b", "aaa", "1", **tied)]
    records = _records(tmp_path, *rows)
    assert _value(check_counts(records), "pairs that tie") == 10
    assert _value(check_length_bias(records), "longer wins") == 0.0
    assert _value(check_format_bias(records), "pairs that differ in markdown") == 0
    assert [f.num for f in check_position_bias(records).findings] == [1]
    assert check_swapped_labels(records).verdict is Verdict.PASS
    ring = [_pair(a, b, votes={"tie": 2}) for a, b in ("ab", "bc", "ca")]
    assert check_transitivity(_records(tmp_path, *ring)).verdict is Verdict.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("edges", "cyclic", "triples", "prompts"),
    [
        (["ab", "bc", "ca"], 1, 1, 1),
        (["ab", "bc", "ac"], 0, 1, 0),
        (["ab", "bc", "cd", "da"], 0, 0, 1),
        (["ab", "bc", "cd", "da", "ac", "bd"], 2, 4, 1),
        (["ab", "ba", "bc", "ca"], 0, 0, 0),
    ],
)
def test_cycles_are_counted(
    edges: list[str], cyclic: int, triples: int, prompts: int, tmp_path: Path
) -> None:
    check = check_transitivity(_records(tmp_path, *(_pair(*edge) for edge in edges)))
    assert _value(check, "prompts with a cycle") == prompts
    if triples:
        assert _value(check, "cyclic triples") == pytest.approx(cyclic / triples)


def test_truncation_counts_what_the_budget_counts(tmp_path: Path) -> None:
    words = Budget(4, "words", str.split)
    rows = [
        _pair("one two three", "one two four", "p q"),  # right cut keeps: p q one two
        _pair("a one two three four", "b one two three four"),  # left cut keeps the last four
        _pair("yes", "no"),
    ]
    check = check_truncation(_records(tmp_path, *rows, budget=words))
    assert [f.value for f in check.findings] == [1, 1, 1]
    assert check.places == (str(tmp_path / "a.jsonl:1"), str(tmp_path / "a.jsonl:2"))


def test_shared_opening_is_told_from_a_shared_prompt(tmp_path: Path) -> None:
    opening = {"role": "user", "content": "Hello there!"}

    def talk(answer: str, question: str) -> list[Row]:
        return [opening, {"role": "assistant", "content": answer}, {"role": "user", "content": question}]

    rows = [
        _pair("a", "b", split="train") | {"prompt": talk("Good day", "what is a hen")},
        _pair("a", "b", split="test") | {"prompt": talk("How can I help you?", "define the word guerdon")},
    ]
    check = check_split_leakage(_records(tmp_path, *rows))
    assert [f.value for f in check.findings] == [0, 1, 0]
    assert check.verdict is Verdict.WARN


def test_prompts_that_are_near_each_other_and_in_two_splits_are_counted_once(tmp_path: Path) -> None:
    long = " ".join(f"word{i}" for i in range(30))
    rows = [_pair("a", "b", p, split=s) for p in (long, long + " more") for s in ("train", "test")]
    check = check_split_leakage(_records(tmp_path, *rows))
    assert _value(check, "prompts in two splits") == 2
    assert _value(check, "near-duplicate prompts in two splits") == 0


def test_prompt_defects_are_told_apart(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "x y"}, {"role": "user", "content": "z"}]
    rows: list[Row] = [
        {"prompt": ""},
        {"prompt": "?"},
        {"prompt": "caf� au lait"},
        {"prompt": "tab\tand\nline"},
        {"prompt": turns},
        {"prompt": [*turns[:1], {"role": "assistant", "content": "w"}]},
    ]
    check = check_prompt_text(_records(tmp_path, *rows))
    assert [f.value for f in check.findings if f.unit == "rows"] == [1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("- one\n* two\n  + three\nnot - this", {"bullets": 3, "line breaks": 3, "markdown": 3}),
        ("1. one\n2) two\nin 3. no", {"numbered items": 2}),
        ("# Head\n####### no\n#no\n**bold** and __bold__", {"headers": 1, "bold": 2, "markdown": 3}),
        ("```py\nx\n``` and `y`", {"code": 3}),
        ("Wow! Really?!", {"exclamation marks": 2, "question marks": 1}),
    ],
)
def test_style_features_count_markup(text: str, counts: dict[str, int]) -> None:
    assert {name: FEATURES[name](text) for name in counts} == counts


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("plain", "Latin"),
        ("São Paulo é", "Latin"),
        ("Привет, world", "Cyrillic"),
        ("你好 OK", "Latin"),
        ("你好世界 OK", "Han"),
        ("こんにちは", "Kana"),
        ("한국어", "Hangul"),
        ("123 !?", "none"),
        ("ꓮꓯ", "other"),
    ],
)
def test_script_is_that_of_most_letters(text: str, script: str) -> None:
    assert script_of(text) == script


def test_worst_verdict_ranks_fail_above_warn_above_pass() -> None:
    assert worst() is Verdict.NOT_APPLICABLE
    assert worst(Verdict.PASS, Verdict.NOT_APPLICABLE) is Verdict.PASS
    assert worst(Verdict.FAIL, Verdict.WARN, Verdict.PASS) is Verdict.FAIL
