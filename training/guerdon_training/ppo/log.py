"""Figures of a run, one JSON object an update."""

import json
from collections.abc import Mapping
from pathlib import Path

from guerdon_training.tracking import echo


def keep_updates(path: Path, num_updates: int) -> None:
    """Drop the lines of updates that a resumed run will do again, and one that a kill cut short."""
    lines = path.read_text("utf-8").splitlines(keepends=True) if path.is_file() else []
    path.write_text("".join(line for line in lines if _update(line) <= num_updates), "utf-8")


def write_update(path: Path, update: int, figures: Mapping[str, float]) -> None:
    """Append one line; updates count from 1."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"update": update, **figures}) + "\n")
    echo(path, figures, update)


def read_updates(path: Path) -> list[dict[str, float]]:
    """All lines."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _update(line: str) -> float:
    try:
        return float(json.loads(line)["update"])
    except ValueError:
        return float("inf")
