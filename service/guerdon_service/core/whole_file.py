"""Files and folders that appear whole or not at all, whenever a command is interrupted."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from guerdon_service.core.errors import InvalidInput

UNFINISHED = ".unfinished"
"""Hidden file that marks a folder while `whole_folder` fills it; no digest covers it."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A draft to write, beside `path` and hidden; it takes its place as the block ends, or is removed.

    What stood at `path` stays there until then. A process that is killed leaves the draft, and the next
    writer replaces it.
    """
    draft = path.with_name(f".{path.name}.draft")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write `text` in UTF-8, all of it or nothing."""
    with whole_file(path) as draft:
        draft.write_text(text, encoding="utf-8")


@contextmanager
def whole_folder(folder: Path) -> Iterator[None]:
    """Fill `folder`, made where it is missing: SIGINT waits until the block ends.

    A process that fails or is killed leaves the folder marked, and `check_whole` refuses it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / UNFINISHED
    with interrupted_later():
        mark.touch()
        yield
        mark.unlink()


def check_whole(folder: Path) -> None:
    """Refuse a folder that `whole_folder` did not finish.

    Raises:
        InvalidInput: it is marked.
    """
    if (folder / UNFINISHED).exists():
        raise InvalidInput(
            f"{folder.name} is not finished: what wrote it was stopped; run that command again",
            param="source",
        )


@contextmanager
def interrupted_later() -> Iterator[None]:
    """Hold SIGINT back; only the main thread gets it, and may."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        held.append(number)

    usual = signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
        if held:
            signal.raise_signal(signal.SIGINT)
