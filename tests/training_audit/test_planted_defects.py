"""A clean set passes every check; a planted defect is found by the checks that should find it alone."""

from collections.abc import Callable
from pathlib import Path

import pytest

from guerdon_training.audit.check import Verdict
from guerdon_training.audit.registry import CHECKS
from guerdon_training.audit.report import Report, audit
from tests.training_audit.synthetic import Files, Row, clean_files

Plant = Callable[[Files], object]


def _accuracy(probability: float, only: str | None = None) -> Plant:
    """Annotators (all, or one) who pick the true label with this probability."""

    def plant(files: Files) -> None:
        for row in files.judgements:
            if only in (None, row["annotator"]):
                truth = "ab"[int(row["item_id"][1:]) % 2]
                row["label"] = truth if files.random.random() < probability else "ba"[truth == "b"]

    return plant


def _cycle(files: Files) -> None:
    a, b, c = (files.text(18) for _ in range(3))
    prompt = [{"role": "user", "content": files.text(10)}]
    for chosen, rejected in ((a, b), (b, c), (c, a)):
        files.pair(prompt=prompt, chosen=chosen, rejected=rejected, split="train")


def _swapped(files: Files) -> None:
    row = files.pairs[3]
    files.copy(row, chosen=row["rejected"], rejected=row["chosen"])


def _near_copy(files: Files) -> None:
    row = files.pairs[3]
    long = files.text(60)
    first = files.pair(prompt=row["prompt"], split=row["split"], chosen=long, rejected=files.text(60))
    files.copy(first, chosen=long + " really")


def _two_prompts(files: Files) -> Row:
    sides = [[{"role": "user", "content": files.text(10)}, _answer(files.text(18))] for _ in range(2)]
    return files.pair(prompt=None, chosen=sides[0], rejected=sides[1])


def _answer(text: str) -> Row:
    return {"role": "assistant", "content": text}


def _truncated(*, prefix: bool) -> Plant:
    def plant(files: Files) -> None:
        shared = files.text(500)
        a, b = files.text(18), files.text(18)
        files.pair(chosen=shared + a if prefix else a + shared, rejected=shared + b if prefix else b + shared)

    return plant


def _near_prompt(row: Row) -> list[Row]:
    return [{"role": "user", "content": row["prompt"][0]["content"] + " x"}]


def _longer_wins(files: Files) -> None:
    for row in files.pairs:
        row["rejected"], row["chosen"] = sorted((row["chosen"], row["rejected"]), key=len)


def _lists_win(files: Files) -> None:
    for row in files.pairs:
        row["chosen"] += "\n- abc\n- abc"
        row["rejected"] += "  abcd  abcd"


def _first_wins(files: Files) -> None:
    for row in files.pairs:
        row["chosen_position"] = "first"


def _undecided(files: Files) -> None:
    for row in files.judgements:
        item, annotator = int(row["item_id"][1:]), int(row["annotator"][1:])
        if item < 12:
            row["label"] = "ab"[(annotator + item) // 2 % 2]


def _lone_group(files: Files) -> None:
    for row in files.judgements:
        if row["annotator"] == "a7":
            row["demographics"] = {"age": "oldest"}


def _one_prompt(files: Files) -> None:
    for row in files.pairs[1:100:5]:
        row["prompt"] = files.pairs[1]["prompt"]


def _other_script(files: Files) -> None:
    for row in files.pairs[:8]:
        text = row["prompt"][0]["content"]
        row["prompt"] = [{"role": "user", "content": "".join(chr(ord("а") + ord(c) % 32) for c in text)}]


PLANTED: tuple[tuple[str, Plant, set[str]], ...] = (
    ("a tiny source", lambda f: [f.pair(source="tiny") for _ in range(5)], {"counts"}),
    ("an id used twice", lambda f: f.pairs[4].update(id=f.pairs[5]["id"]), {"duplicate_ids"}),
    ("the same pair twice", lambda f: f.copy(f.pairs[3]), {"exact_duplicates"}),
    (
        "the same pair in capitals",
        lambda f: f.copy(f.pairs[3], chosen=f.pairs[3]["chosen"].upper()),
        {"exact_duplicates"},
    ),
    ("swapped labels", _swapped, {"swapped_labels"}),
    ("a word more", _near_copy, {"near_duplicates"}),
    (
        "chosen equal to rejected",
        lambda f: f.pairs[3].update(chosen=f.pairs[3]["rejected"]),
        {"equal_responses"},
    ),
    ("an empty response", lambda f: f.pairs[3].update(rejected=" \n"), {"empty_responses"}),
    ("two prompts in a pair", _two_prompts, {"prompt_mismatch"}),
    ("a shared beginning", _truncated(prefix=True), {"truncation"}),
    ("a shared end", _truncated(prefix=False), {"truncation"}),
    (
        "a prompt in two splits",
        lambda f: f.pair(prompt=f.pairs[1]["prompt"], split="valid"),
        {"split_leakage"},
    ),
    (
        "a near prompt in two splits",
        lambda f: f.pair(prompt=_near_prompt(f.pairs[1]), split="valid"),
        {"split_leakage"},
    ),
    (
        "an evaluation prompt",
        lambda f: f.evaluation.append({"prompt": f.pairs[1]["prompt"]}),
        {"contamination"},
    ),
    (
        "a near evaluation prompt",
        lambda f: f.evaluation.append({"prompt": _near_prompt(f.pairs[1])}),
        {"contamination"},
    ),
    ("longer wins", _longer_wins, {"length_bias"}),
    ("lists win", _lists_win, {"format_bias"}),
    ("the first wins", _first_wins, {"position_bias"}),
    ("random labels", _accuracy(0.5), {"agreement", "noise_ceiling", "annotators", "ambiguity"}),
    ("weak agreement", _accuracy(0.85), {"agreement"}),
    ("one careless annotator", _accuracy(0.5, only="a3"), {"annotators"}),
    ("a cycle", _cycle, {"transitivity"}),
    ("a lone group", _lone_group, {"demographics"}),
    ("an empty prompt", lambda f: f.pairs[3]["prompt"][0].update(content=" "), {"prompt_text"}),
    ("one prompt everywhere", _one_prompt, {"prompt_repeats"}),
    ("another script", _other_script, {"languages"}),
    ("items without a majority", _undecided, {"ambiguity"}),
)


def _alarms(report: Report) -> set[str]:
    return {c.name for c in report.checks if c.verdict in (Verdict.WARN, Verdict.FAIL)}


def test_clean_set_passes_every_check(tmp_path: Path) -> None:
    report = audit(clean_files().records(tmp_path))
    assert {c.name: c.reason for c in report.checks if c.verdict is not Verdict.PASS} == {
        "transitivity": "no prompt has three answers that are compared with one another"
    }
    assert report.verdict is Verdict.PASS


@pytest.mark.parametrize(("plant", "expected"), [p[1:] for p in PLANTED], ids=[p[0] for p in PLANTED])
def test_planted_defect_is_found_by_its_check_alone(plant: Plant, expected: set[str], tmp_path: Path) -> None:
    files = clean_files()
    plant(files)
    assert _alarms(audit(files.records(tmp_path))) == expected


def test_every_check_has_a_planted_defect() -> None:
    found = {name for _, _, expected in PLANTED for name in expected}
    assert found == {check.__name__.removeprefix("check_") for check in CHECKS}
