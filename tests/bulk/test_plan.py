"""Slices: every row in exactly one, the same ones each time; other inputs or another model are refused."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guerdon_service.bulk.cursor import Cursor
from guerdon_service.bulk.inputs import expand
from guerdon_service.bulk.plan import check_same
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import InvalidInput
from tests.bulk.data import FAKE, conversation, plan_of, records, write_lines, write_parquet


@given(
    blanks=st.lists(st.booleans(), min_size=1, max_size=40),
    slice_rows=st.integers(1, 12),
    suffix=st.sampled_from([".jsonl", ".jsonl.gz"]),
    stride=st.integers(1, 3),
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_slices_of_lines_hold_every_row_once_whoever_reads_which(
    tmp_path: Path, blanks: list[bool], slice_rows: int, suffix: str, stride: int
) -> None:
    given_lines = [" " if blank else record for blank, record in zip(blanks, records(40), strict=False)]
    path = write_lines(tmp_path / f"in{suffix}", given_lines)
    expected = [(i, conversation(v)) for i, v in enumerate(given_lines) if isinstance(v, dict)]
    if not expected:
        with pytest.raises(InvalidInput, match="no record"):
            plan_of([path], slice_rows)
        return
    plan = plan_of([path], slice_rows)
    assert [part.index for part in plan.slices] == list(range(len(plan.slices)))
    found = []
    for worker in range(stride):  # each of several workers gets every stride-th slice
        cursor = Cursor()
        found += [row for part in plan.slices[worker::stride] for row in cursor.read(part)]
    assert sorted(((row.index, row.item) for row in found), key=lambda row: row[0]) == expected
    assert plan.num_rows == len(expected)


@given(
    count=st.integers(1, 40),
    group=st.integers(1, 50),
    slice_rows=st.integers(1, 50),
    stride=st.integers(1, 3),
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_slices_of_parquet_do_too(
    tmp_path: Path, count: int, group: int, slice_rows: int, stride: int
) -> None:
    path = write_parquet(tmp_path / "in.parquet", records(count), group)
    plan = plan_of([path], slice_rows)
    found = []
    for worker in range(stride):
        cursor = Cursor()
        found += [row for part in plan.slices[worker::stride] for row in cursor.read(part)]
    found.sort(key=lambda row: row.index)
    assert [row.item for row in found] == [conversation(record) for record in records(count)]
    assert [row.id for row in found] == [f"r{i}" for i in range(count)]


def test_a_cursor_goes_back_when_it_must(tmp_path: Path) -> None:
    for path in (
        write_lines(tmp_path / "a.jsonl.gz", records(20)),
        write_lines(tmp_path / "a.jsonl", records(20)),
        write_parquet(tmp_path / "a.parquet", records(20), 7),
    ):
        slices, cursor = plan_of([path], 4).slices, Cursor()
        for i in (3, 0, 4, 1, 1):
            assert [row.index for row in cursor.read(slices[i])] == list(range(4 * i, 4 * i + 4))


def test_names_globs_and_urls_each_file_once(tmp_path: Path) -> None:
    b, a = write_lines(tmp_path / "b.jsonl", records(1)), write_lines(tmp_path / "a.ndjson", records(1))
    assert expand([str(b), str(tmp_path / "*"), f"file://{a}"]) == (str(b), str(a))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("none.jsonl", "matches no file"),
        ("none-*.jsonl", "matches no file"),
        ("", "matches no file"),
        ("table.csv", "no known format"),
        ("torn.jsonl.gz", "cannot be read"),
        ("torn.parquet", "cannot be read"),
        ("unheard-of://x.jsonl", "cannot be read"),
    ],
)
def test_an_unusable_input_is_named(tmp_path: Path, name: str, why: str) -> None:
    write_lines(tmp_path / "table.csv", records(1))
    (tmp_path / "torn.jsonl.gz").write_bytes(gzip.compress(b'{"prompt": "a"}\n' * 999)[:-9])
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    with pytest.raises(InvalidInput, match=why):
        plan_of([name if "://" in name else tmp_path / name], 10)


def test_a_file_that_shrank_after_it_was_planned_is_refused(tmp_path: Path) -> None:
    for path, again in (
        (tmp_path / "a.jsonl", write_lines),
        (tmp_path / "a.jsonl.gz", write_lines),
        (tmp_path / "a.parquet", lambda path, rows: write_parquet(path, rows, 3)),
    ):
        again(path, records(9))
        plan = plan_of([path], 3)
        again(path, records(5))
        with pytest.raises(InvalidInput, match="cannot be read"):
            Cursor().read(plan.slices[2])


def test_plans_are_equal_exactly_when_inputs_model_and_split_are(tmp_path: Path) -> None:
    path, other = write_lines(tmp_path / "a.jsonl", records(9)), write_lines(tmp_path / "b.jsonl", records(3))
    plan = plan_of([path], 4)
    assert plan_of([path], 4) == plan
    known = json.loads(json.dumps(plan.identity()))
    check_same(known, plan_of([path], 4), "out")
    path_digest = plan.digest
    changes = {
        "--slice-rows": plan_of([path], 5),
        "is new": plan_of([path, other], 4),
        "model.digest": plan_of([path], 4, replace(FAKE, digest="another")),
        "model.profile": plan_of([path], 4, replace(FAKE, profile="both")),
        "model.dtype": plan_of([path], 4, replace(FAKE, dtype="bfloat16")),
        "are missing": plan_of([other], 4),
    }
    write_lines(path, records(9, start=1))
    changes["has changed"] = plan_of([path], 4)
    for told, changed in changes.items():
        assert changed.digest != path_digest
        before = plan_of([path, other], 4).identity() if told == "are missing" else known
        with pytest.raises(InvalidInput, match=told):
            check_same(before, changed, "out")


def test_bad_records_are_rows_with_their_error(tmp_path: Path) -> None:
    bad = [
        "not json",
        "[1]",
        "{}",
        '{"prompt": "a"}',
        '{"prompt": "a", "messages": [], "response": "b"}',
        '{"messages": [{"role": "user", "content": "a", "tool_calls": []}], "response": "b"}',
        '{"messages": [{"role": "user"}], "response": "b"}',
        '{"messages": "a", "response": "b"}',
        "[" * 100_000,
        '{"prompt": 1, "response": "b"}',
    ]
    path = write_lines(tmp_path / "bad.jsonl", [*bad, {"id": 7, "prompt": "a", "response": "b"}])
    rows = Cursor().read(plan_of([path], 100).slices[0])
    assert all(isinstance(row.item, InvalidInput) for row in rows[:-1])
    assert (rows[-1].id, rows[-1].item) == ("7", Conversation.of("a", "b"))
    trl = write_lines(
        tmp_path / "trl.jsonl", [{"prompt": [{"role": "user", "content": "a"}], "response": "b"}]
    )
    assert Cursor().read(plan_of([trl], 1).slices[0])[0].item == Conversation.of("a", "b")
