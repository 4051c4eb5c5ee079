"""A JSONL file, its gzipped form, or standard input, as numbered lines."""

import gzip
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, cast

from guerdon.errors import InvalidInput

GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class InputFile:
    """A readable file, and what identifies it.

    sha256: of its lines after decompression, so that recompressing does not matter.
    num_records: lines that are not blank.
    """

    path: Path
    sha256: str
    num_records: int

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Index from 0 and bytes of every line that is not blank.

        Raises:
            InvalidInput: at the end, where these are not the lines that were counted.
        """
        digest = sha256()
        for i, line in enumerate(_lines(self.path)):
            digest.update(line)
            if line.strip():
                yield i, line
        if digest.hexdigest() != self.sha256:
            raise InvalidInput(
                f"{self.path} changed while it was read, so that results may be of either content; "
                "start again, with another --output if there is one",
                param="FILE",
            )


def open_input(name: str, folder: Path) -> InputFile:
    """Read the input once, to count and to identify it.

    Args:
        name: path, or ``-`` for standard input. What can be read but once, a pipe included, is kept in
            `folder`.

    Raises:
        InvalidInput: it cannot be read.
    """
    digest, num_records = sha256(), 0
    try:
        path = _rereadable(name, folder)
        for line in _lines(path):
            digest.update(line)
            num_records += bool(line.strip())
    except (OSError, EOFError) as err:  # a torn gzip file is an EOFError, a bad one an OSError
        raise InvalidInput(f"{name} cannot be read: {err}", param="FILE") from None
    return InputFile(path, digest.hexdigest(), num_records)


def _rereadable(name: str, folder: Path) -> Path:
    if name != "-" and Path(name).is_file():
        return Path(name)
    copy = folder / "input"
    with sys.stdin.buffer if name == "-" else Path(name).open("rb") as pipe, copy.open("wb") as file:
        shutil.copyfileobj(pipe, file)
    return copy


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as raw:
        packed = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        yield from cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if packed else raw
