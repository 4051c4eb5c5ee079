"""From paths, globs and fsspec URLs to files, and from a file to its slices, before any work."""

import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import fsspec
import pyarrow
from pyarrow import parquet

from guerdon_service.bulk.plan import InputFile, Slice
from guerdon_service.core.errors import InvalidInput

_LINES = (".jsonl", ".ndjson", ".json")
_PARQUET = (".parquet", ".pq")
_BLOCK_BYTES = 1 << 20

Advance = Callable[[int], object]
"""Told how many more rows are done with."""


def expand(patterns: Sequence[str]) -> tuple[str, ...]:
    """Every file that the patterns name, once: in their order, a glob's files by name.

    Args:
        patterns: paths, globs or fsspec URLs. Local files are given back as absolute paths.

    Raises:
        InvalidInput: a pattern matches nothing, or a file is none of JSON Lines (.gz) and Parquet.
    """
    urls = dict.fromkeys(url for pattern in patterns for url in _matches(pattern))
    for url in urls:
        if not is_parquet(url) and not url.removesuffix(".gz").endswith(_LINES):
            raise InvalidInput(
                f"{url} is of no known format; give {', '.join(_LINES)} (one record a line, or that with .gz)"
                f" or {', '.join(_PARQUET)}",
                param="FILE",
            )
    return tuple(urls)


def scan(url: str, slice_rows: int, advance: Advance) -> tuple[InputFile, list[Slice]]:
    """Digest one file, count its records and split it; slices are numbered later.

    Args:
        slice_rows: most rows of a slice.

    Raises:
        InvalidInput: the file cannot be read.
    """
    with reading(url):
        return (_scan_parquet if is_parquet(url) else _scan_lines)(url, slice_rows, advance)


def is_parquet(url: str) -> bool:
    """Whether the file's name says Parquet."""
    return url.endswith(_PARQUET)


def open_lines(url: str, offset: int = 0) -> IO[bytes]:
    """A text file from `offset` bytes on, decompressed if its name ends in ``.gz``."""
    file = cast(IO[bytes], fsspec.open(url, "rb").open())
    if url.endswith(".gz"):
        return cast(IO[bytes], gzip.GzipFile(fileobj=file))
    file.seek(offset)
    return file


@contextmanager
def reading(url: str) -> Iterator[None]:
    """What goes wrong with the file inside becomes one sentence about it."""
    try:
        yield
    except (OSError, EOFError, ValueError, zlib.error, pyarrow.ArrowException) as err:
        raise InvalidInput(f"{url} cannot be read ({err}); give a whole file", param="FILE") from err


def _matches(pattern: str) -> list[str]:
    try:
        files, path = fsspec.core.url_to_fs(pattern)
        is_glob = any(c in path for c in "*?[")
        found = sorted(files.glob(path)) if is_glob else [path]
        found = [str(p) for p in found if files.isfile(p)]
    except (ImportError, ValueError, OSError) as err:
        raise InvalidInput(f"{pattern} cannot be read: {err}", param="FILE") from None
    if not found:
        raise InvalidInput(
            f"{pattern} matches no file; give a file, or a glob such as FOLDER/*.jsonl", param="FILE"
        )
    if "file" in files.protocol:
        return [str(Path(p).resolve()) for p in found]
    return [str(files.unstrip_protocol(p)) for p in found]


def _scan_lines(url: str, slice_rows: int, advance: Advance) -> tuple[InputFile, list[Slice]]:
    digest, slices = hashlib.sha256(), []
    can_jump = not url.endswith(".gz")
    start = begin = at = num_rows = stop = 0
    with open_lines(url) as file:
        for stop, line in enumerate(file, start=1):
            digest.update(line)
            at += len(line)
            num_rows += not line.isspace()
            if stop - start == slice_rows:
                slices.append(Slice(0, url, start, stop, num_rows, begin if can_jump else None))
                advance(num_rows)
                start, begin, num_rows = stop, at, 0
    if num_rows:
        slices.append(Slice(0, url, start, stop, num_rows, begin if can_jump else None))
        advance(num_rows)
    slices = [part for part in slices if part.num_rows]
    return InputFile(url, digest.hexdigest(), sum(part.num_rows for part in slices)), slices


def _scan_parquet(url: str, slice_rows: int, advance: Advance) -> tuple[InputFile, list[Slice]]:
    with fsspec.open(url, "rb") as file:
        digest = hashlib.sha256()
        for block in _blocks(file):
            digest.update(block)
        num_rows = parquet.ParquetFile(file).metadata.num_rows
    slices = [
        Slice(0, url, start, min(start + slice_rows, num_rows), min(slice_rows, num_rows - start))
        for start in range(0, num_rows, slice_rows)
    ]
    advance(num_rows)
    return InputFile(url, digest.hexdigest(), num_rows), slices


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    while block := file.read(_BLOCK_BYTES):
        yield block
