"""Other people's formats to preference records and back."""

import csv
import gzip
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput
from guerdon_training.convert.conversion import convert
from guerdon_training.convert.hh_rlhf import parse_transcript, render_transcript
from guerdon_training.convert.parquet import write_parquet
from guerdon_training.convert.row_format import parse_row
from guerdon_training.convert.source_row import Place, SourceRow
from guerdon_training.data import read_pairs

Row = dict[str, Any]

HERE = Place("here.jsonl", 1)
PROMPT = [
    {"role": "user", "content": "How do I\n\nboil an egg?"},
    {"role": "assistant", "content": "Soft or hard?"},
    {"role": "user", "content": " soft "},
]
CHOSEN, REJECTED = "Six minutes.\n\n", "Ask a hen."
RECORD = {"prompt": PROMPT, "chosen": CHOSEN, "rejected": REJECTED}


def _say(text: str) -> list[Row]:
    return [{"role": "assistant", "content": text}]


def _transcript(response: str) -> str:
    return render_transcript(Message(m["role"], m["content"]) for m in [*PROMPT, *_say(response)])


FORMATS: dict[str, Row] = {
    "preference record": RECORD,
    "trl explicit": {"prompt": PROMPT, "chosen": _say(CHOSEN), "rejected": _say(REJECTED)},
    "trl implicit": {"chosen": PROMPT + _say(CHOSEN), "rejected": PROMPT + _say(REJECTED)},
    "hh-rlhf": {"chosen": _transcript(CHOSEN), "rejected": _transcript(REJECTED)},
}


def _jsonl(path: Path, *rows: Row) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path


def _records(path: Path) -> list[Row]:
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("row", FORMATS.values(), ids=FORMATS.keys())
def test_every_format_gives_the_same_record(row: Row, tmp_path: Path) -> None:
    done = convert(_jsonl(tmp_path / "in.jsonl", row), tmp_path / "out.jsonl.gz")
    (record,) = _records(tmp_path / "out.jsonl.gz")
    assert {k: record[k] for k in RECORD} == RECORD
    assert (done.num_written, done.dropped) == (1, ())
    (pair,) = read_pairs(tmp_path / "out.jsonl.gz")  # what the recipes read
    assert (pair.chosen, pair.rejected, pair.id) == (CHOSEN, REJECTED, record["id"])


def test_record_is_kept_whole_and_conversion_is_idempotent(tmp_path: Path) -> None:
    fields: Row = {
        "id": "x-1",
        "source": "s",
        "subset": "t",
        "split": "test",
        "label_source": "human",
        "annotator": "a1",
        "votes": {"chosen": 2, "rejected": 1, "tie": 0},
        "demographics": {"age": "35-39"},
        "margin": 1.5,
        "rank_gap": 2,
    }
    convert(_jsonl(tmp_path / "in.jsonl", RECORD | fields), tmp_path / "a.jsonl")
    convert(tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    assert _records(tmp_path / "a.jsonl") == [RECORD | fields]
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_rewardbench_row_keeps_its_subset(tmp_path: Path) -> None:
    row = {
        "prompt": "Hi?",
        "chosen": "Yes.",
        "rejected": "No.",
        "subset": "alpacaeval-easy",
        "chosen_model": "m",
        "id": 7,
    }
    convert(_jsonl(tmp_path / "in.jsonl", row), tmp_path / "out.jsonl", "rewardbench")
    (record,) = _records(tmp_path / "out.jsonl")
    assert record["prompt"] == [{"role": "user", "content": "Hi?"}]
    assert (record["subset"], record["chosen_model"], record["id"]) == ("alpacaeval-easy", "m", "7")


def test_csv_with_line_breaks_and_json_prompt(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["prompt", "chosen", "rejected", "votes"])
        writer.writeheader()
        writer.writerow({"prompt": 'say\n"hi"', "chosen": "hi,\nthere", "rejected": "no", "votes": ""})
        writer.writerow(
            {"prompt": json.dumps(PROMPT), "chosen": "a", "rejected": "b", "votes": '{"chosen": 3}'}
        )
    convert(path, tmp_path / "out.jsonl")
    first, second = _records(tmp_path / "out.jsonl")
    assert first["prompt"][0]["content"] == 'say\n"hi"'
    assert first["chosen"] == "hi,\nthere"
    assert "votes" not in first
    assert (second["prompt"], second["votes"]) == (PROMPT, {"chosen": 3})


@pytest.mark.parametrize("name", FORMATS)
def test_parquet_round_trip(name: str, tmp_path: Path) -> None:
    fields = {"id": "1", "votes": {"chosen": 1, "rejected": 0}}
    write_parquet(tmp_path / "in.parquet", [FORMATS[name] | fields])
    convert(tmp_path / "in.parquet", tmp_path / "middle.parquet")
    convert(tmp_path / "middle.parquet", tmp_path / "out.jsonl")
    assert _records(tmp_path / "out.jsonl") == [RECORD | fields]


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "in.parquet").write_bytes(b"PAR1")
    with pytest.raises(InvalidInput, match=r"needs pyarrow; pip install 'guerdon\[parquet\]'$"):
        convert(tmp_path / "in.parquet", tmp_path / "out.jsonl")


def test_broken_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "in.parquet").write_bytes(b"PAR1 no such thing")
    with pytest.raises(InvalidInput, match=r"in\.parquet is not Parquet"):
        convert(tmp_path / "in.parquet", tmp_path / "out.jsonl")


turns = st.lists(
    st.builds(
        Message,
        st.sampled_from(["user", "assistant"]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(lambda t: "\n\n" not in t),
    ),
    min_size=1,
    max_size=6,
)


@given(turns)
def test_transcript_round_trip_keeps_every_character(messages: list[Message]) -> None:
    assert list(parse_transcript(render_transcript(messages), "chosen", HERE)) == messages


@given(turns, st.text(max_size=20), st.text(max_size=20))
def test_implicit_prompt_round_trip(messages: list[Message], chosen: str, rejected: str) -> None:
    prompt = [{"role": m.role, "content": m.content} for m in messages]
    row = {"chosen": [*prompt, *_say(chosen)], "rejected": [*prompt, *_say(rejected)]}
    pair = parse_row(SourceRow(row, HERE))
    assert (pair.prompt, pair.rejected_prompt) == (tuple(messages), tuple(messages))
    assert (pair.chosen, pair.rejected) == (chosen, rejected)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ('{"prompt": "x", "chosen": "a"}', "no chosen or no rejected (it has prompt, chosen)"),
        ('{"chosen": "a", "rejected": "b"}', "no prompt"),
        (
            '{"prompt": [{"role": "human", "content": "x"}], "chosen": "a", "rejected": "b"}',
            "prompt[0].role is 'human'",
        ),
        ('{"prompt": [{"role": "user"}], "chosen": "a", "rejected": "b"}', "role and content"),
        ('{"prompt": "x", "chosen": 1, "rejected": "b"}', "chosen must be text"),
        ('{"chosen": [{"role": "user", "content": "x"}], "rejected": []}', "must end with an assistant turn"),
        ('{"chosen": "\\n\\nHuman: x", "rejected": "\\n\\nHuman: y"}', "must end with an assistant turn"),
        ('{"prompt": "x", "chosen": "a", "rejected": "b", "votes": 3}', "votes must be an object"),
        (
            '{"prompt": "x", "chosen": "a", "rejected": "b", "margin": "big"}',
            "margin is 'big', not a finite number",
        ),
        (
            '{"prompt": "x", "chosen": "a", "rejected": "b", "margin": NaN}',
            "margin is nan, not a finite number",
        ),
        (
            f'{{"prompt": "x", "chosen": "a", "rejected": "b", "margin": 1{"0" * 400}}}',
            "not a finite number",
        ),
        ('{"id": "1", "prompt": "x", "chosen": "a", "rejected": "b"}', "has the id of"),
        ('{"prompt": "x", "chosen": "\\udcff", "rejected": "b"}', "lone surrogate"),
    ],
)
def test_malformed_row_names_file_and_line_and_leaves_no_output(
    bad: str, message: str, tmp_path: Path
) -> None:
    good = json.dumps({"id": "1", "prompt": "x", "chosen": "a", "rejected": "c"})
    (tmp_path / "in.jsonl").write_text(f"{good}\n\n{bad}\n", encoding="utf-8")
    with pytest.raises(InvalidInput) as error:
        convert(tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert message in str(error.value)
    assert "in.jsonl:3" in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == ["in.jsonl"]


def test_repeated_rows_are_left_out_and_listed(tmp_path: Path) -> None:
    row, other = ({"prompt": "x", "chosen": "a", "rejected": r} for r in "bc")
    path = _jsonl(tmp_path / "in.jsonl", row, row, other | {"id": "1"}, row, other | {"id": "1"})
    done = convert(path, tmp_path / "out.jsonl")
    assert [r["rejected"] for r in _records(tmp_path / "out.jsonl")] == ["b", "c"]
    assert [(d.place.line, d.reason) for d in done.dropped] == [
        (2, f"it repeats {path}:1"),
        (4, f"it repeats {path}:1"),
        (5, f"it repeats {path}:3"),
    ]


def test_rows_of_one_pair_that_differ_are_counted_and_told_at_once(tmp_path: Path) -> None:
    row = {"prompt": "x", "chosen": "a", "rejected": "b"}
    path = _jsonl(tmp_path / "in.jsonl", *(row | {"annotator": name} for name in "pqr"))
    told = r"in\.jsonl:2 has no id and is the same pair as .*in\.jsonl:1 and differs .*\(and 1 more\); remove"
    with pytest.raises(InvalidInput, match=told):
        convert(path, tmp_path / "out.jsonl")


def test_a_ranking_is_told_to_be_one(tmp_path: Path) -> None:
    path = _jsonl(tmp_path / "in.jsonl", {"prompt": "x", "responses": ["a", "b"], "ranks": [1, 2]})
    with pytest.raises(InvalidInput, match=r"in\.jsonl:1 is a ranking, which the recipes read as it is"):
        convert(path, tmp_path / "out.jsonl")


@pytest.mark.parametrize("prompt", ['[{"a": 1}] what is it?', '[{"a": 1}]', '[{"role": "user"}]'])
def test_text_that_only_looks_like_messages_is_a_prompt(tmp_path: Path, prompt: str) -> None:
    row = {"prompt": prompt, "chosen": "a", "rejected": "b"}
    convert(_jsonl(tmp_path / "in.jsonl", row), tmp_path / "out.jsonl")
    assert _records(tmp_path / "out.jsonl")[0]["prompt"] == [{"role": "user", "content": prompt}]


def test_bytes_that_are_not_utf8_are_named_by_line(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b'{"a": 1}\n{"b": "\xff"}\n')
    with pytest.raises(InvalidInput, match=r"in\.jsonl:2 is not UTF-8"):
        convert(tmp_path / "in.jsonl", tmp_path / "out.jsonl")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prompt,chosen,rejected\nx,a,b\nx,a\n", r"in\.csv:3 has not the header's number of columns"),
        ("prompt,chosen,rejected\nx,a,b\nx,a,b,c\n", r"in\.csv:3 has not the header's number of columns"),
        ('prompt,chosen,rejected\n"x\ny",a,b\nx,"a"b,c\n', r"in\.csv:4 is not CSV"),
        ("prompt,answer\nx,a\n", r"in\.csv:2 has no chosen or no rejected \(it has prompt, answer\)"),
        ("prompt,chosen,rejected\n", r"in\.csv holds no row"),
        ('"prompt"x,chosen,rejected\nx,a,b\n', r"in\.csv:1 is not CSV"),
        ('prompt,chosen,"rejected\nx,a,b\n', r"in\.csv:1 is not CSV"),
        ('prompt,chosen,"re\njected"\nx,a\n', r"in\.csv:3 has not the header's number of columns"),
        ("prompt;chosen;rejected\nx;a;b\n", r"in\.csv:1 has no comma; save the file with commas"),
    ],
)
def test_malformed_csv_names_file_and_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInput, match=message):
        convert(tmp_path / "in.csv", tmp_path / "out.jsonl")


def test_a_csv_that_is_not_named_so_is_told_how_names_are_read(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("prompt,chosen,rejected\nx,a,b\n", "utf-8")
    (tmp_path / "in.jsonl").write_text("{\n", "utf-8")
    with pytest.raises(
        InvalidInput, match=r"in\.txt:1 is not JSON .*, as which .*; end a CSV's in \.csv, or fix"
    ):
        convert(tmp_path / "in.txt", tmp_path / "out.jsonl")
    with pytest.raises(InvalidInput, match=r"in\.jsonl:1 is not JSON .*\); fix the line$"):
        convert(tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert convert(tmp_path / "in.txt", tmp_path / "out.jsonl", "csv").num_written == 1


@pytest.mark.parametrize("name", ["out.txt", "out.csv", "out.json", "out.gz", "out.csv.gz"])
def test_records_are_not_written_under_another_format_s_name(name: str, tmp_path: Path) -> None:
    path = _jsonl(tmp_path / "in.jsonl", {"prompt": "x", "chosen": "a", "rejected": "b"})
    with pytest.raises(
        InvalidInput, match=rf"{name} is no name for .* end in one of \.jsonl, \.jsonl\.gz, \.parq"
    ):
        convert(path, tmp_path / name)
    assert not (tmp_path / name).exists()


def test_rows_without_a_comparison_are_left_out_and_listed(tmp_path: Path) -> None:
    other = [{"role": "user", "content": "other"}]
    path = _jsonl(
        tmp_path / "in.jsonl",
        {"prompt": "x", "chosen": "a", "rejected": "b"},
        {"prompt": "x", "chosen": "a", "rejected": "a"},
        {"prompt": "x", "chosen": " ", "rejected": "a"},
        {"prompt": "", "chosen": "b", "rejected": "a"},
        {"chosen": PROMPT + _say("a"), "rejected": other + _say("b")},
    )
    done = convert(path, tmp_path / "out.jsonl")
    assert done.num_written == 1
    assert [(d.place.line, d.reason) for d in done.dropped] == [
        (2, "chosen equals rejected"),
        (3, "a response is empty"),
        (4, "the prompt has no user turn with text"),
        (5, "the prompts of chosen and rejected differ"),
    ]


def test_file_without_a_comparison_is_refused(tmp_path: Path) -> None:
    path = _jsonl(tmp_path / "in.jsonl", {"prompt": "x", "chosen": "a", "rejected": "a"})
    with pytest.raises(InvalidInput, match="holds no comparison"):
        convert(path, tmp_path / "out.jsonl")


def test_ids_are_made_from_the_content(tmp_path: Path) -> None:
    rows = [{"prompt": "x", "chosen": c, "rejected": "z"} for c in "ab"]
    convert(_jsonl(tmp_path / "in.jsonl", *rows), tmp_path / "a.jsonl.gz")
    convert(_jsonl(tmp_path / "in.jsonl", *rows), tmp_path / "b.jsonl.gz")
    ids = [r["id"] for r in _records(tmp_path / "a.jsonl.gz")]
    assert len(set(ids)) == 2
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()
