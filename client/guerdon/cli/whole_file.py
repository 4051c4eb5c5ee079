"""Write a file whole or not at all: an interrupted command leaves nothing half-written."""

from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write `text` in UTF-8 to a draft beside `path`, which takes its place when all of it is there."""
    draft = path.with_name(f".{path.name}.draft")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
