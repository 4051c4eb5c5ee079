import gzip
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput
from guerdon_service.evaluation.item import Item
from guerdon_service.evaluation.read import data_sha256, read_items
from tests.evaluation.data import pairs, write


def read_one(tmp_path: Path, record: Any) -> Item:
    return next(read_items([write(tmp_path / "data.jsonl", [record])]))


def test_the_preference_record_of_the_design(tmp_path: Path) -> None:
    record = {
        "id": "x",
        "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}],
        "chosen": "Because.",
        "rejected": "No.",
        "source": "crowd",
        "subset": "chat",
        "language": "en",
        "tags": ["short"],
        "votes": {"chosen": 2, "rejected": 1, "tie": 1},
        "demographics": {"age": "18-24", "unknown": None},
    }
    assert read_one(tmp_path, record) == Item(
        id="x",
        prompt=(Message("system", "Be brief."), Message("user", "Why?")),
        responses=("Because.", "No."),
        grades=(1.0, 0.0),
        subset="chat",
        votes=(2.0, 1.0),
        tie_votes=1.0,
        tags=("short", "source=crowd", "language=en"),
        demographics={"age": "18-24"},
    )


def test_responses_may_be_assistant_turns(tmp_path: Path) -> None:
    turn = [{"role": "assistant", "content": "Yes."}]
    item = read_one(tmp_path, {"prompt": "Why?", "chosen": turn, "rejected": "No."})
    assert item.responses == ("Yes.", "No.")
    assert (item.id, item.subset) == ("line-1", "data")


def test_rewardbench_v1_counts_its_ids_from_zero(tmp_path: Path) -> None:
    record = {"id": 0, "prompt": "p", "chosen": "c", "chosen_model": "m", "rejected": "r", "subset": "hep-go"}
    assert read_one(tmp_path, record).id == "0"


def test_rewardbench_v2(tmp_path: Path) -> None:
    record = {
        "id": "tied:3", "prompt": "p", "subset": "Ties", "num_correct": 2, "total_completions": 4,
        "chosen": ["a", "b"], "rejected": ["c", "d"],
    }  # fmt: skip
    item = read_one(tmp_path, record)
    assert (item.responses, item.grades, item.styles) == (("a", "b", "c", "d"), (1.0, 1.0, 0.0, 0.0), ())


def test_rm_bench_keeps_the_style_of_each_response(tmp_path: Path) -> None:
    record = {
        "id": "1",
        "prompt": "p",
        "chosen": ["a", "b", "c"],
        "rejected": ["d", "e", "f"],
        "domain": "chat",
    }
    item = read_one(tmp_path, record)
    assert item.styles == (0, 1, 2, 0, 1, 2)
    assert item.subset == "chat"


@pytest.mark.parametrize(("label", "grades"), [("A>B", (1.0, 0.0)), ("B>A", (0.0, 1.0)), ("A=B", (0.5, 0.5))])
def test_judgebench(tmp_path: Path, label: str, grades: tuple[float, float]) -> None:
    record = {"pair_id": "7", "source": "mmlu", "question": "q", "label": label}
    record |= {"response_A": "a", "response_B": "b"}
    item = read_one(tmp_path, record)
    assert (item.id, item.subset, item.responses, item.grades) == ("7", "mmlu", ("a", "b"), grades)


def test_ties_and_best_of_k(tmp_path: Path) -> None:
    tie = read_one(tmp_path, {"prompt": "p", "chosen": "a", "rejected": "b", "label": "tie"})
    assert tie.grades == (1.0, 1.0)
    best = read_one(tmp_path, {"prompt": "p", "chosen": "a", "rejected": ["b", "c"]})
    assert best.grades == (1.0, 0.0, 0.0)
    graded = read_one(tmp_path, {"prompt": "p", "responses": ["a", "b", "c"], "grades": [2, 5, 5]})
    assert graded.grades == (2.0, 5.0, 5.0)
    ranked = read_one(tmp_path, {"prompt": "p", "responses": ["a", "b", "c"], "ranks": [2, 1, 2]})
    assert ranked.grades == (-2.0, -1.0, -2.0)


@pytest.mark.parametrize(
    ("votes", "grades", "counts"),
    [
        ({"tie": 3}, (1.0, 1.0), (0.0, 0.0)),
        ({"chosen": 1, "rejected": 1}, (1.0, 1.0), (1.0, 1.0)),
        ({"chosen": 2, "rejected": 1, "tie": 3}, (1.0, 1.0), (2.0, 1.0)),
        ({"chosen": 2, "rejected": 1, "tie": 2}, (1.0, 0.0), (2.0, 1.0)),
        ({"rejected": 2}, (1.0, 0.0), (0.0, 2.0)),
    ],
)
def test_a_pair_whose_votes_prefer_neither_is_a_tie_as_in_training(
    tmp_path: Path, votes: dict[str, int], grades: tuple[float, ...], counts: tuple[float, ...]
) -> None:
    item = read_one(tmp_path, {"prompt": "p", "chosen": "a", "rejected": "b", "votes": votes})
    assert (item.grades, item.votes, item.tie_votes) == (grades, counts, votes.get("tie", 0))


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"chosen": "a", "rejected": "b"}, "prompt is missing"),
        ({"prompt": [{"role": "robot", "content": "x"}], "chosen": "a", "rejected": "b"}, "role of system"),
        ({"prompt": "p", "chosen": "a"}, "neither chosen and rejected"),
        ({"prompt": "p", "chosen": "a", "rejected": ""}, "a response is empty"),
        ({"prompt": "p", "chosen": "a", "rejected": "a"}, "both responses are equal"),
        ({"prompt": "p", "chosen": "a", "rejected": 3}, "rejected is neither"),
        ({"prompt": "p", "responses": ["a", "b"], "grades": [1]}, "1 grades for 2 responses"),
        ({"prompt": "p", "responses": ["a", "b"], "grades": [1, float("nan")]}, "grades must be"),
        ({"prompt": "p", "response_a": "a", "response_b": "b", "label": "c"}, "label is 'c'"),
        (
            {"prompt": "p", "chosen": "a", "rejected": "b", "votes": {"chosen": -1, "rejected": 2}},
            "votes must",
        ),
        ({"prompt": "p", "chosen": "a", "rejected": "b", "tags": "x"}, "tags must"),
        ({"prompt": "p", "chosen": "a", "rejected": "b", "demographics": ["x"]}, "demographics must"),
        (["no object"], "no JSON object"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path: Path, record: Any, reason: str) -> None:
    path = write(tmp_path / "data.jsonl.gz", [*pairs(3), record])
    with pytest.raises(InvalidInput, match=rf"data.jsonl.gz:4 .*{reason}"):
        list(read_items([path]))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.jsonl", b"", "a.jsonl holds no record"),
        ("a.jsonl", b'{"prompt": ', "a.jsonl:1 is not JSON"),
        ("a.jsonl", b'\n{"id": "\xff"}', "a.jsonl:. cannot be read"),
        ("a.jsonl.gz", b"not gzip", "a.jsonl.gz:1 cannot be read"),
        (
            "a.jsonl.gz",
            gzip.compress(b'{"id": 1}\n' * 9000, mtime=0)[:-20],
            "cannot be read|is no preference record",
        ),
        ("a.json", b'{"id": 1}', "a.json is no JSON list"),
        ("a.parquet", b"PAR1", "a.parquet cannot be read"),
        ("a.csv", b"prompt,chosen", r"a.csv is a CSV; .*: guerdon data convert \S+/a.csv \S+/a.jsonl$"),
        ("a b.csv.gz", b"", r"a b.csv.gz is a CSV; .*: guerdon data convert '.*/a b.csv.gz' '.*/a b.jsonl'$"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=reason):
        list(read_items([tmp_path / name]))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"none.jsonl does not exist"):
        list(read_items([tmp_path / "none.jsonl"]))
    with pytest.raises(InvalidInput, match=r"none.jsonl does not exist"):
        data_sha256([tmp_path / "none.jsonl"])


def test_all_kinds_of_file_give_the_same_items(tmp_path: Path) -> None:
    pyarrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    records = pairs(30)
    lines = write(tmp_path / "data.jsonl", records)
    packed = write(tmp_path / "data.jsonl.gz", records)
    (tmp_path / "data.json").write_text(json.dumps(records))
    parquet.write_table(pyarrow.Table.from_pylist(records), tmp_path / "data.parquet")
    found = [
        list(read_items([p])) for p in (lines, packed, tmp_path / "data.json", tmp_path / "data.parquet")
    ]
    assert found[0] == found[1] == found[2] == found[3]
    assert len(found[0]) == 30


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(InvalidInput, match=r"guerdon\[parquet\]"):
        list(read_items([tmp_path / "a.parquet"]))


def test_ids_are_unique_over_all_files(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.jsonl", pairs(2)), write(tmp_path / "b.jsonl", pairs(3))
    ids = [item.id for item in read_items([first, second, first])]
    assert ids == ["pair-0", "pair-1", "pair-0#2", "pair-1#2", "pair-2", "pair-0#3", "pair-1#3"]


def test_prompts_that_differ_in_case_and_punctuation_are_one_cluster(tmp_path: Path) -> None:
    first = read_one(tmp_path, {"prompt": "Why, oh why?", "chosen": "a", "rejected": "b"})
    second = read_one(tmp_path, {"prompt": "why oh WHY", "chosen": "c", "rejected": "d"})
    other = read_one(tmp_path, {"prompt": "why not", "chosen": "c", "rejected": "d"})
    assert first.cluster == second.cluster != other.cluster
