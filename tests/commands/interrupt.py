"""SIGINT in the middle of a file: half of what is written is there when it comes."""

import builtins
import io
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest


class Half:
    """A file whose first write is cut in two by a SIGINT."""

    def __init__(self, file: Any) -> None:
        self._file, self._is_cut = file, False

    def write(self, data: Any) -> int:
        if self._is_cut or len(data) < 2:
            return int(self._file.write(data))
        self._is_cut = True
        half = len(data) // 2
        self._file.write(data[:half])
        self._file.flush()
        signal.raise_signal(signal.SIGINT)
        self._file.write(data[half:])  # where the signal waits
        return len(data)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextmanager
def interrupted(folder: Path, number: int) -> Iterator[list[Path]]:
    """The file that is opened for writing below `folder` as the `number`-th, from 0, is cut.

    Gives the files that were opened so, as they are.
    """
    usual = io.open
    seen: list[Path] = []

    def opened(file: Any, mode: str = "r", *args: Any, **more: Any) -> Any:
        made = usual(file, mode, *args, **more)
        is_ours = isinstance(file, str | Path) and Path(file).absolute().is_relative_to(folder)
        if not is_ours or not set(mode) & set("wxa"):
            return made
        seen.append(Path(file))
        return Half(made) if len(seen) == number + 1 else made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(io, "open", opened)
        patch.setattr(builtins, "open", opened)
        yield seen
