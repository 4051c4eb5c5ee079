"""`guerdon data split`: three files that share no prompt, however it is written."""

import json
from pathlib import Path
from typing import Any

import pytest

from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput
from guerdon_training.audit.cli import data_command
from guerdon_training.data import read_pairs
from guerdon_training.split_file import SHARES, split_file, split_of
from guerdon_training.splits import check_splits

FORMS = ("Why, {}?", "ｗｈｙ  {}", "WHY {} !\n", "Why, {}? ")
"""One opening, to whoever reads it."""


def _rows(num_prompts: int) -> list[dict[str, Any]]:
    system = {"role": "system", "content": "Be brief."}
    return [
        {
            "prompt": [*([system] if i % 2 else []), {"role": "user", "content": form.format(i)}],
            "chosen": f"a{place}",
            "rejected": "b",
            "own": "kept",
        }
        for i in range(num_prompts)
        for place, form in enumerate(FORMS)
    ]


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def _lines(folder: Path) -> dict[str, list[str]]:
    return {name: (folder / f"{name}.jsonl").read_text("utf-8").splitlines() for name in SHARES}


def test_no_prompt_is_in_two_and_no_record_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = _rows(200)
    argv = ["data", "split", str(_write(tmp_path / "ours.jsonl", rows)), "--output", str(tmp_path / "split")]
    assert data_command(argv[1:]) == 0
    lines = _lines(tmp_path / "split")
    assert sorted(
        json.loads(x)["prompt"][-1]["content"] for found in lines.values() for x in found
    ) == sorted(row["prompt"][-1]["content"] for row in rows)
    assert all(json.loads(x)["own"] == "kept" for found in lines.values() for x in found)
    pairs = {name: read_pairs(tmp_path / "split" / f"{name}.jsonl") for name in SHARES}
    files = {name: f"{name}.jsonl" for name in SHARES}
    check_splits(files, {name: ((p.id, p.prompt) for p in found) for name, found in pairs.items()})
    openings = [{p.cluster for p in found} for found in pairs.values()]
    assert sum(map(len, openings)) == len(set.union(*openings))
    for name, share in SHARES.items():
        assert len(lines[name]) / len(rows) == pytest.approx(share, abs=0.08)
    told = ", ".join(f"{name} {len(found)}" for name, found in lines.items())
    assert capsys.readouterr().out == f"records to {tmp_path / 'split'}: {told}; no prompt is in two\n"


def test_a_file_that_has_grown_is_split_as_before_and_another_seed_otherwise(tmp_path: Path) -> None:
    small, grown = (_write(tmp_path / f"{n}.jsonl", _rows(n)) for n in (60, 120))
    for name, source, seed in (("a", small, 0), ("b", grown, 0), ("c", small, 1)):
        split_file(source, tmp_path / name, seed)
    before, after, other = (_lines(tmp_path / name) for name in "abc")
    assert all(set(before[name]) <= set(after[name]) for name in SHARES)
    assert before != other


def test_a_file_is_never_written_over_by_its_own_split(tmp_path: Path) -> None:
    ours = _write(tmp_path / "train.jsonl", _rows(60))
    before = ours.read_bytes()
    with pytest.raises(InvalidInput, match=r"train\.jsonl would be written over; give another --output"):
        split_file(ours, tmp_path / "x" / "..", 0)
    assert ours.read_bytes() == before


def test_a_conversation_goes_where_its_opening_goes() -> None:
    first = Message("user", "?!")
    turns = [(first,), (Message("system", "x"), first), (first, Message("assistant", "y"), first)]
    assert len({split_of(prompt, 0) for prompt in turns}) == 1
    assert {split_of((Message("user", mark),), 0) for mark in "?!.;:-+*#"} > {"train"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps(_rows(1)[0]), r"(train|valid|test) of .*in\.jsonl would be empty; give more prompts"),
        ("prompt,chosen\n", r"in\.jsonl:1 is not JSON .*guerdon data convert reads CSV"),
        ('{"prompt": "x", "chosen": "a", "rejected": "b"}', "prompt must be a list .*guerdon data convert"),
    ],
)
def test_what_cannot_be_split_leaves_no_folder(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "in.jsonl").write_text(text, "utf-8")
    with pytest.raises(InvalidInput, match=message):
        split_file(tmp_path / "in.jsonl", tmp_path / "out", 0)
    assert not (tmp_path / "out").exists()
