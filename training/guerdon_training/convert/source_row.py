"""Rows of a JSON Lines, CSV or Parquet file, each with the place it came from.

Owns bytes to rows; knows nothing of what a row means.
"""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from guerdon_service.core.errors import InvalidInput
from guerdon_training.convert.parquet import read_parquet

CONTAINERS = ("jsonl", "csv", "parquet")


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file, counted from 1; of a Parquet file, a row counted from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class SourceRow:
    """Column names to values, as stored."""

    values: Mapping[str, Any]
    place: Place


def container_of(path: Path) -> str:
    """The container that a file's name announces; anything unknown is read as JSON Lines."""
    return _announced(path) or "jsonl"


def _announced(path: Path) -> str | None:
    name = path.name.removesuffix(".gz")
    return next((c for c in CONTAINERS if name.endswith(f".{c}")), None)


def read_rows(path: Path, container: str | None = None) -> Iterator[SourceRow]:
    """Rows of one file in order.

    Args:
        container: ``jsonl``, ``csv`` or ``parquet``; None takes it from the name.

    Raises:
        InvalidInput: the file is missing, empty, not UTF-8 or malformed; the message names file and line.
    """
    if not path.is_file():
        raise InvalidInput(f"{path} does not exist; give the path of a data file", param="data")
    container = container or container_of(path)
    if container == "parquet":
        rows = _parquet_rows(path)
    else:
        rows = (_csv_rows if container == "csv" else _json_rows)(path, _text(path))
    first = next(rows, None)
    if first is None:
        raise InvalidInput(f"{path} holds no row; give a file with data", param="data")
    yield first
    yield from tqdm(rows, desc=f"read {path.name}", initial=1, unit="row", disable=None, delay=2)


def _text(path: Path) -> str:
    data = path.read_bytes()
    try:
        data = gzip.decompress(data) if path.suffix == ".gz" else data
    except (OSError, EOFError, zlib.error) as err:
        raise InvalidInput(f"{path} is not gzip ({err}); give the file whole", param="data") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line = data.count(b"\n", 0, err.start) + 1
        raise InvalidInput(f"{path}:{line} is not UTF-8; save the file as UTF-8", param="data") from None


def _json_rows(path: Path, text: str) -> Iterator[SourceRow]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = Place(str(path), number)
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as err:
            raise InvalidInput(f"{place} is not JSON ({err}){_remedy(path)}", param="data") from None
        if not isinstance(values, dict):
            raise InvalidInput(f"{place} is not a JSON object; give one object a line", param="data")
        yield SourceRow(values, place)


def _remedy(path: Path) -> str:
    if _announced(path) is None:
        return ", as which a file is read whose name tells nothing else; end a CSV's in .csv, or fix the line"
    return "; fix the line"


def _csv_rows(path: Path, text: str) -> Iterator[SourceRow]:
    csv.field_size_limit(1 << 30)  # the default of 128 KiB refuses long transcripts
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    number = 1  # a row is named by the line it starts on; the header is the first
    try:
        if len(header := reader.fieldnames or ()) == 1 and set(header[0]) & set(";\t|"):
            raise InvalidInput(
                f"{path}:1 has no comma; save the file with commas between columns", param="data"
            )
        number = reader.line_num + 1
        for values in reader:
            place = Place(str(path), number)
            if None in values or any(v is None for v in values.values()):
                raise InvalidInput(
                    f"{place} has not the header's number of columns; fix the row", param="data"
                )
            yield SourceRow(values, place)
            number = reader.line_num + 1
    except csv.Error as err:
        raise InvalidInput(f"{path}:{number} is not CSV ({err}); fix the quoting", param="data") from None


def _parquet_rows(path: Path) -> Iterator[SourceRow]:
    for number, values in enumerate(read_parquet(path), start=1):
        yield SourceRow(values, Place(str(path), number))
