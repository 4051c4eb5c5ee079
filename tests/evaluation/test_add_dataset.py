"""Records that callers send become a file of the data folder, whole, once, and nowhere else."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from guerdon_service.core.errors import GuerdonError, InvalidInput
from guerdon_service.evaluation.add_dataset import add_dataset
from guerdon_service.evaluation.read import data_sha256, read_items

RECORDS: list[dict[str, Any]] = [
    {"prompt": "Say \u00fc\u2028.", "chosen": "\u00fc", "rejected": "u", "subset": "letters"},
    {"prompt": "2 + 2?", "chosen": "4.", "rejected": "\ud800"},
]


def test_what_is_kept_is_what_was_sent(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there" / "yet"
    kept = add_dataset(folder, "mine.jsonl", RECORDS)
    path = folder / "mine.jsonl"
    assert (kept.name, kept.num_items) == ("mine.jsonl", 2)
    assert kept.sha256 == data_sha256([path]) == hashlib.sha256(path.read_bytes()).hexdigest()
    items = list(read_items([path]))
    assert [item.prompt[0].content for item in items] == [record["prompt"] for record in RECORDS]
    assert [file.name for file in folder.iterdir()] == ["mine.jsonl"], "no scratch file stays"


def test_the_same_again_changes_nothing_and_another_under_its_name_is_refused(tmp_path: Path) -> None:
    first = add_dataset(tmp_path, "mine.jsonl", RECORDS)
    assert add_dataset(tmp_path, "mine.jsonl", RECORDS) == first
    with pytest.raises(InvalidInput, match="taken") as refused:
        add_dataset(tmp_path, "mine.jsonl", RECORDS[:1])
    assert refused.value.param == "name"
    assert data_sha256([tmp_path / "mine.jsonl"]) == first.sha256


def test_of_many_at_once_one_is_kept_whole(tmp_path: Path) -> None:
    def add(number: int) -> str | None:
        try:
            return add_dataset(tmp_path, "one.jsonl", [{**RECORDS[0], "subset": f"{number}"}] * 50).sha256
        except InvalidInput:
            return None

    with ThreadPoolExecutor(8) as pool:
        kept = {sha256 for sha256 in pool.map(add, range(8)) if sha256}
    assert kept == {data_sha256([tmp_path / "one.jsonl"])}


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x",
        "x.json",
        ".x.jsonl",
        "../x.jsonl",
        "a/x.jsonl",
        "/x.jsonl",
        "a\\0.jsonl\0",
        "\n.jsonl",
        "x" * 200 + ".jsonl",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        add_dataset(tmp_path / "data", name, RECORDS)
    assert refused.value.param == "name"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_told_with_its_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(GuerdonError, match=r"cannot be written to \(Not a directory\);.* set data_folder"):
        add_dataset(tmp_path / "file" / "data", "mine.jsonl", RECORDS)


@pytest.mark.parametrize(
    ("records", "param"),
    [([], "records"), ([RECORDS[0], {"prompt": "p"}], "records[1]"), ([{"chosen": "a"}], "records[0]")],
)
def test_what_is_no_preference_is_refused_by_its_place(
    tmp_path: Path, records: list[dict[str, Any]], param: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        add_dataset(tmp_path, "mine.jsonl", records)
    assert refused.value.param == param
    assert list(tmp_path.iterdir()) == []
