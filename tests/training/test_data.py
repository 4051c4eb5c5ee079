"""Records: what is read, and what stops a run with the file, the line and the remedy."""

import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput
from guerdon_training.config import HeadConfig, SourceConfig
from guerdon_training.convert.source_row import read_rows
from guerdon_training.data import PreferencePair, read_pairs
from guerdon_training.tagging import tag

RECORD: dict[str, Any] = {
    "id": "r1",
    "prompt": [{"role": "user", "content": " Hi,  THERE! "}],
    "chosen": " kept \n",
    "rejected": "no",
    "source": "s",
    "subset": None,
}


def _write(path: Path, *lines: str) -> Path:
    data = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["pairs.jsonl", "pairs.jsonl.gz"])
def test_a_record_keeps_every_character(tmp_path: Path, name: str) -> None:
    # U+2028 ends a line for str.splitlines, not for JSON Lines
    record = dict(RECORD, chosen=" kept \u2028\n")
    path = _write(tmp_path / name, json.dumps(record, ensure_ascii=False), "")
    (pair,) = read_pairs(path)
    assert pair == PreferencePair("r1", (Message("user", " Hi,  THERE! "),), " kept \u2028\n", "no", "s", "")
    assert pair.cluster == "hi there"


BAD = {
    "not JSON": "{",
    "no chosen": json.dumps({k: v for k, v in RECORD.items() if k != "chosen"}),
    "empty": json.dumps(dict(RECORD, rejected="")),
    "equal": json.dumps(dict(RECORD, rejected=RECORD["chosen"])),
    "no user": json.dumps(dict(RECORD, prompt=[{"role": "system", "content": "x"}])),
    "a list": json.dumps(dict(RECORD, chosen=["x"])),
}


@pytest.mark.parametrize("line", BAD.values(), ids=BAD)
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    path = _write(tmp_path / "pairs.jsonl", json.dumps(RECORD), line)
    with pytest.raises(InvalidInput, match=r"pairs\.jsonl:2"):
        read_pairs(path)


@pytest.mark.parametrize("data", [b"", b"\xff\xfe{}", None])
def test_a_bad_file_is_named(tmp_path: Path, data: bytes | None) -> None:
    path = tmp_path / "pairs.jsonl"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(InvalidInput, match=r"pairs\.jsonl"):
        read_pairs(path)


@pytest.mark.parametrize("read", [read_pairs, lambda path: list(read_rows(path))])
def test_a_damaged_archive_is_named(tmp_path: Path, read: Callable[[Path], object]) -> None:
    path = _write(tmp_path / "pairs.jsonl.gz", json.dumps(RECORD))
    data = bytearray(path.read_bytes())
    data[10] = 0b111  # a block of no kind, of which zlib complains and not gzip
    path.write_bytes(data)
    with pytest.raises(zlib.error):
        gzip.decompress(data)
    with pytest.raises(InvalidInput, match=r"pairs\.jsonl\.gz (cannot be read|is not gzip)"):
        read(path)


def test_tagging_trains_on_permitted_subsets_and_measures_on_all() -> None:
    pairs = [PreferencePair(s + t, (Message("user", "x"),), "a", "b", s, t) for s in "xyz" for t in "12"]
    heads = (
        HeadConfig("first", (SourceConfig("x", "MIT", subsets=("1",)),)),
        HeadConfig("second", (SourceConfig("y", "MIT"), SourceConfig("x", "MIT"))),
    )
    trained = [(t.pair.id, t.head) for t in tag(pairs, heads, trained=True)]
    assert trained == [("x1", 0), ("x1", 1), ("x2", 1), ("y1", 1), ("y2", 1)]
    measured = [(t.pair.id, t.head) for t in tag(pairs, heads, trained=False)]
    assert measured == [("x1", 0), ("x2", 0), ("x1", 1), ("x2", 1), ("y1", 1), ("y2", 1)]
