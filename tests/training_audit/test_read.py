"""What the audit reads from each kind of file, and what it refuses."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from guerdon_service.core.errors import InvalidInput
from guerdon_training.audit.rated import rated_groups
from guerdon_training.audit.read import read_records
from guerdon_training.data import read_pairs

Row = dict[str, Any]


def _file(path: Path, *rows: Row) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path


def _pair(**changes: Any) -> Row:
    return {"prompt": "q", "chosen": "a", "rejected": "b"} | changes


def test_slices_split_and_position_of_a_pair(tmp_path: Path) -> None:
    row = _pair(
        id=3,
        source="s",
        subset="t",
        language="en",
        split="test",
        label_source="h",
        chosen_position="second",
    )
    records = read_records([_file(tmp_path / "a.jsonl", row)])
    (pair,) = records.pairs
    assert (pair.id, pair.source, pair.split, pair.chosen_first) == ("3", "s", "test", False)
    assert pair.slices == {"subset": "t", "language": "en", "label_source": "h"}
    assert records.prompts[0].split == "test"


def test_file_without_split_is_a_split_of_its_own(tmp_path: Path) -> None:
    paths = [_file(tmp_path / name, _pair()) for name in ("a.jsonl", "b.jsonl")]
    assert [p.split for p in read_records(paths).prompts] == ["a.jsonl", "b.jsonl"]


def test_votes_do_not_depend_on_who_won(tmp_path: Path) -> None:
    """The same item stored with either winner has the same labels, so chance agreement is not inflated."""
    rows = [
        _pair(votes={"chosen": 2, "rejected": 1, "tie": 0}),
        _pair(chosen="b", rejected="a", votes={"chosen": 3, "rejected": 0, "tie": 1}),
    ]
    records = read_records([_file(tmp_path / "a.jsonl", *rows)])
    assert [j.label for j in records.judgements] == ["x", "x", "y", "y", "y", "y", "tie"]
    assert len({j.item for j in records.judgements}) == 1
    assert {j.annotator for j in records.judgements} == {None}


def test_pairs_by_named_annotators_are_judgements_of_one_item(tmp_path: Path) -> None:
    people = {"age": "old"}
    rows = [
        _pair(annotator="p", demographics=people),
        _pair(annotator="q", chosen="b", rejected="a", demographics=people),
    ]
    records = read_records([_file(tmp_path / "a.jsonl", *rows)])
    assert [(j.annotator, j.label) for j in records.judgements] == [("p", "x"), ("q", "y")]
    assert records.judgements[0].demographics == people
    (rated,) = rated_groups(records.judgements)
    assert (rated.ordinal, rated.counts.tolist()) == (True, [[1.0, 1.0]])


def test_ratings_are_an_ordered_scale_and_votes_by_label_are_not(tmp_path: Path) -> None:
    given = (("p", 3), ("q", 1), ("r", 10))
    ratings = [{"item_id": "1", "annotator": a, "rating": r, "source": "s"} for a, r in given]
    votes = {"item_id": "1", "votes": {"race": 3, "age": 2}, "source": "v"}
    records = read_records([_file(tmp_path / "a.jsonl", *ratings), _file(tmp_path / "b.jsonl", votes)])
    numeric, named = rated_groups(records.judgements)
    assert (numeric.labels, numeric.ordinal) == ((1.0, 3.0, 10.0), True)
    assert (named.labels, named.ordinal) == (("age", "race"), False)
    assert (numeric.annotator_names, named.annotator_names) == (("p", "q", "r"), ())
    assert named.counts.tolist() == [[2.0, 3.0]]


def test_ratings_and_labels_of_one_file_are_two_scales(tmp_path: Path) -> None:
    rows = [{"item_id": "1", "annotator": a} | v for a in "pq" for v in ({"rating": 4}, {"label": "a"})]
    rated = rated_groups(read_records([_file(tmp_path / "a.jsonl", *rows)]).judgements)
    assert [(r.labels, r.counts.tolist()) for r in rated] == [((4.0,), [[2.0]]), (("a",), [[2.0]])]


RANKING: Row = {"id": "r", "prompt": "q", "responses": ["c", "a", "b"], "ranks": [2, 1, 2], "source": "s"}


def test_a_ranking_is_all_its_pairs_as_the_recipes_read_it(tmp_path: Path) -> None:
    path = _file(tmp_path / "a.jsonl", RANKING | {"prompt": [{"role": "user", "content": "q"}]})
    records = read_records([path])
    assert [(p.id, p.chosen, p.rejected, p.is_tie, p.source) for p in records.pairs] == [
        (p.id, p.chosen, p.rejected, p.is_tie, p.source) for p in read_pairs(path, ties=True)
    ]
    assert len(records.prompts) == 1
    assert [p.rejected for p in records.preferred.pairs] == ["c", "b"]


@pytest.mark.parametrize("change", [{"ranks": [1, 2]}, {"ranks": ["1", "2", "3"]}, {"responses": "abc"}])
def test_a_bad_ranking_is_named_by_file_and_line(tmp_path: Path, change: Row) -> None:
    with pytest.raises(InvalidInput, match=r"a\.jsonl:2: responses must be texts and ranks whole numbers"):
        read_records([_file(tmp_path / "a.jsonl", RANKING, RANKING | change)])


def test_prompt_of_an_item_is_counted_once(tmp_path: Path) -> None:
    rows = [{"item_id": "1", "prompt": "q", "annotator": a, "label": "a"} for a in "pq"]
    assert len(read_records([_file(tmp_path / "a.jsonl", *rows)]).prompts) == 1


def test_cells_of_a_csv_hold_votes_groups_and_ratings(tmp_path: Path) -> None:
    pairs, ratings = tmp_path / "pairs.csv", tmp_path / "ratings.csv"
    pairs.write_text(
        "prompt,chosen,rejected,votes,annotator,demographics\n"
        'q,a,b,"{""chosen"": 2, ""tie"": 1}",,\n'
        'r,a,b,,p,"{""age"": ""30""}"\ns,a,b,,,\n',
        "utf-8",
    )
    ratings.write_text("item_id,annotator,label,rating\n1,p,,4\n1,q,a,\n", "utf-8")
    voted = read_records([pairs]).judgements
    assert [(j.label, j.annotator) for j in voted] == [("x", None), ("x", None), ("tie", None), ("x", "p")]
    assert voted[3].demographics == {"age": "30"}
    assert [j.label for j in read_records([ratings]).judgements] == [4.0, "a"]


def test_cells_of_a_compressed_csv_are_read_as_convert_reads_them(tmp_path: Path) -> None:
    text = "item_id,annotator,label,rating\n" + "".join(
        f"{i},p,,{r}\n" for i, r in enumerate(("04", ".5", "+4"))
    )
    (tmp_path / "ratings.csv.gz").write_bytes(gzip.compress(text.encode()))
    assert [j.label for j in read_records([tmp_path / "ratings.csv.gz"]).judgements] == [4.0, 0.5, 4.0]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "q"}, "is no known row (it has question)"),
        ({"prompt": "q"}, "is a prompt row, but the file began with pair rows"),
        (_pair(chosen_position="third"), "chosen_position is 'third'; use first or second"),
        (_pair(votes={"winner": 1}), "votes.winner is unknown"),
        (_pair(votes={"chosen": -1}), "votes must map labels to counts"),
        (_pair(annotator="p", demographics="old"), "demographics must be an object"),
        (_pair(chosen=None), "no chosen or no rejected"),
    ],
)
def test_bad_row_is_named_by_file_and_line(row: Row, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as error:
        read_records([_file(tmp_path / "a.jsonl", _pair(), row)])
    assert message in str(error.value)
    assert "a.jsonl:2" in str(error.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"item_id": "1", "annotator": "p", "rating": "five"}, "rating is 'five', not a finite number"),
        ({"item_id": "1", "annotator": "p", "label": ""}, "neither a label nor a rating"),
        ({"item_id": "1", "annotator": "p", "rating": True}, "rating is True, not a finite number"),
        ({"item_id": "1", "annotator": "p", "rating": float("nan")}, "rating is nan, not a finite number"),
        ({"item_id": "1", "votes": [1]}, "votes must be an object"),
        ({"item_id": "1", "votes": "[" * 100_000}, "votes must be an object"),
    ],
)
def test_bad_judgement_is_named_by_file_and_line(row: Row, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=rf"a\.jsonl:1.*{message}"):
        read_records([_file(tmp_path / "a.jsonl", row)])


def test_missing_and_empty_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="does not exist"):
        read_records([tmp_path / "none.jsonl"])
    with pytest.raises(InvalidInput, match="holds no row"):
        read_records([_file(tmp_path / "a.jsonl")])
