"""Items of a file, one after the other: JSON Lines, plain or gzipped, a JSON list, or parquet."""

import gzip
import hashlib
import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import IO, Any

from guerdon_service.core.errors import InvalidInput
from guerdon_service.evaluation.item import Item
from guerdon_service.evaluation.shapes import BadRecord, to_item

_PARQUET_ROWS = 256
"""Rows decoded at a time."""


def read_items(paths: Sequence[Path]) -> Iterator[Item]:
    """Items in order, ids unique: a repeated one gets ``#2``, ``#3``, ...; a missing one is its line's.

    Raises:
        InvalidInput: a file is missing, empty or unreadable, or a line is no item; the message names the
            file, the line and the remedy.
    """
    seen: dict[str, int] = {}
    for path in paths:
        number = 0
        for number, record in _records(path):
            item = _item(record, path, number)
            count = seen[item.id] = seen.get(item.id, 0) + 1
            yield item if count == 1 else replace(item, id=f"{item.id}#{count}")
        if number == 0:
            raise _wrong(f"{path} holds no record; give a file with preferences")


def chunks(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    """Lists of `size` items, the last one shorter."""
    while chunk := list(islice(items, size)):
        yield chunk


def data_sha256(paths: Sequence[Path]) -> str:
    """SHA-256 (hex) of the files' bytes, one after the other.

    Raises:
        InvalidInput: a file is missing.
    """
    state = hashlib.sha256()
    for path in paths:
        with _open(path) as file:
            while block := file.read(1 << 20):
                state.update(block)
    return state.hexdigest()


def _item(record: Any, path: Path, number: int) -> Item:
    try:
        if not isinstance(record, dict):
            raise BadRecord("it is no JSON object; give one record a line")
        return to_item(record, f"line-{number}", path.name.split(".")[0])
    except BadRecord as err:
        raise _wrong(f"{path}:{number} is no preference record: {err}") from None


def _records(path: Path) -> Iterator[tuple[int, Any]]:
    if path.suffix == ".parquet":
        return _parquet(path)
    if path.name.endswith((".csv", ".csv.gz")):
        records = path.with_name(f"{path.name.partition('.csv')[0]}.jsonl")
        command = shlex.join(["guerdon", "data", "convert", str(path), str(records)])
        raise _wrong(f"{path} is a CSV; convert it first: {command}")
    if path.name.endswith((".json", ".json.gz")):
        return _json_list(path)
    return _json_lines(path)


def _json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    number = 0
    try:
        with _open_text(path) as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, json.loads(line)
    except json.JSONDecodeError as err:
        raise _wrong(
            f"{path}:{number} is not JSON ({err.msg}); give one JSON object a line (guerdon data convert)"
        ) from None
    except (UnicodeDecodeError, OSError, EOFError) as err:
        raise _wrong(f"{path}:{number + 1} cannot be read ({err}); give UTF-8 JSON Lines") from None


def _json_list(path: Path) -> Iterator[tuple[int, Any]]:
    """The whole file is parsed at once: for benchmarks that ship as one list."""
    try:
        with _open_text(path) as file:
            records = json.load(file)
    except (ValueError, OSError, EOFError) as err:
        raise _wrong(f"{path} cannot be read ({err}); give a JSON list, or JSON Lines as .jsonl") from None
    if not isinstance(records, list):
        raise _wrong(f"{path} is no JSON list; give a list of records, or JSON Lines as .jsonl")
    yield from enumerate(records, start=1)


def _parquet(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        pyarrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ModuleNotFoundError:
        raise _wrong(
            f"{path} needs the package pyarrow; install it with pip install 'guerdon[parquet]'"
        ) from None
    number = 0
    with _open(path) as file:
        try:
            for batch in parquet.ParquetFile(file).iter_batches(_PARQUET_ROWS):
                for record in batch.to_pylist():
                    number += 1
                    yield number, record
        except (pyarrow.ArrowException, OSError) as err:
            raise _wrong(f"{path} cannot be read ({err}); give a parquet file") from None


def _open(path: Path) -> IO[bytes]:
    if not path.is_file():
        raise _wrong(f"{path} does not exist; give the path of a file of preferences")
    return path.open("rb")


def _open_text(path: Path) -> IO[str]:
    _open(path).close()
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def _wrong(message: str) -> InvalidInput:
    return InvalidInput(message, param="data")
