"""Figures of a run as JSON Lines."""

import json
from collections.abc import Mapping
from pathlib import Path

from guerdon_training.tracking import echo


class MetricsLog:
    """One object a line, each with its `epoch`; written by one process alone.

    num_epochs: those that a resumed run keeps; lines of later ones, which will be run again, are dropped.
    """

    def __init__(self, path: Path, is_writer: bool, num_epochs: int = 0) -> None:
        self._path, self._is_writer, self._num_lines = path, is_writer, 0
        if is_writer:
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = path.read_text("utf-8").splitlines(keepends=True) if path.is_file() else []
            kept = [x for x in lines if _epoch(x) <= num_epochs]
            path.write_text("".join(kept), "utf-8")
            self._num_lines = len(kept)

    def write(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Append one line."""
        if self._is_writer:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"epoch": epoch, **figures}) + "\n")
            self._num_lines += 1
            echo(self._path, figures, self._num_lines)


def _epoch(line: str) -> int:
    try:
        return int(json.loads(line)["epoch"])
    except ValueError:
        return 1 << 62  # cut short when the run was killed
