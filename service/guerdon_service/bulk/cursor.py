"""Rows of one slice after another."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import fsspec
from pyarrow import parquet

from guerdon_service.bulk.inputs import is_parquet, open_lines, reading
from guerdon_service.bulk.plan import Slice
from guerdon_service.bulk.records import COLUMNS, Row, parse_line, parse_record

_PARQUET_ROWS = 256
"""Rows decoded at a time."""


@dataclass(slots=True)
class _Open:
    """A file that is being read; a blank line is a row that is None."""

    url: str
    next_row: int
    rows: Iterator[Row | None]


class Cursor:
    """Reads slices; one that lies ahead in the same file goes on where the last one ended.

    So a worker decompresses a ``.gz`` file once, however many of its slices it gets. Plain lines are jumped
    to by their offset, Parquet by its row groups.
    """

    def __init__(self) -> None:
        self._open: _Open | None = None

    def read(self, part: Slice) -> list[Row]:
        """The slice's rows, blank lines left out.

        Raises:
            InvalidInput: the file cannot be read, or has other rows than when it was planned.
        """
        with reading(part.url):
            at = self._at(part)
            skip, stop = part.start - at.next_row, part.stop - at.next_row
            rows = [row for row in islice(at.rows, skip, stop) if row is not None]
            at.next_row = part.stop
            if len(rows) != part.num_rows:
                raise ValueError(f"rows {part.start} to {part.stop} are not those that were planned")
            return rows

    def _at(self, part: Slice) -> _Open:
        at, self._open = self._open, None  # after a failed read nothing is known of the place
        entry, group = _entry(part)
        if at is None or at.url != part.url or not entry <= at.next_row <= part.start:
            rows = _lines(part, entry) if group is None else _records(part, entry, group)
            at = _Open(part.url, entry, rows)
        self._open = at
        return at


def _entry(part: Slice) -> tuple[int, int | None]:
    """The last row, at or before the slice, that a reader can begin with, and its row group if it has any."""
    if not is_parquet(part.url):
        return (0 if part.offset is None else part.start), None
    with fsspec.open(part.url, "rb") as file:
        metadata = parquet.ParquetFile(file).metadata
    start = 0
    for group in range(metadata.num_row_groups):
        size = metadata.row_group(group).num_rows
        if part.start < start + size:
            return start, group
        start += size
    raise ValueError(f"it has {start} rows, and had more when it was planned")


def _lines(part: Slice, entry: int) -> Iterator[Row | None]:
    with open_lines(part.url, part.offset or 0) as file:
        for number, line in enumerate(file, start=entry):
            yield None if line.isspace() else parse_line(number, line)


def _records(part: Slice, entry: int, group: int) -> Iterator[Row | None]:
    with fsspec.open(part.url, "rb") as opened:
        file = parquet.ParquetFile(opened)
        columns = [name for name in COLUMNS if name in file.schema_arrow.names]
        groups = list(range(group, file.metadata.num_row_groups))
        number = entry
        for batch in file.iter_batches(_PARQUET_ROWS, row_groups=groups, columns=columns):
            for record in batch.to_pylist():
                yield parse_record(number, record)
                number += 1
