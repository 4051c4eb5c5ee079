"""What a bulk run will do, as data: its inputs, their slices, and the model. Pure."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from guerdon_service.core.errors import InvalidInput

FORMAT = 1
"""Of ``plan.json``; raised when an older run could no longer be continued."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """One input.

    sha256: hex; of the lines after decompression, of the bytes of a Parquet file.
    num_rows: records; blank lines are none.
    """

    url: str
    sha256: str
    num_rows: int


@dataclass(frozen=True, slots=True)
class Slice:
    """Rows ``start`` to ``stop`` (exclusive) of one file, which one worker scores and writes together.

    start, stop: from 0; of a text file these are lines, blank ones included.
    num_rows: records between them.
    offset: bytes before the row ``start`` where a reader can jump there, else None.
    """

    index: int
    url: str
    start: int
    stop: int
    num_rows: int
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class PlannedModel:
    """Which model scores, and how: all that a score depends on besides the text."""

    name: str
    version: str
    digest: str
    profile: str
    backend: str
    dtype: str
    device: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A deterministic split: equal inputs, model and `slice_rows` give equal slices."""

    model: PlannedModel
    files: tuple[InputFile, ...]
    slices: tuple[Slice, ...]
    slice_rows: int

    @property
    def num_rows(self) -> int:
        """Records of all files."""
        return sum(file.num_rows for file in self.files)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of `identity`."""
        return hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()

    def identity(self) -> dict[str, Any]:
        """What a continued run must have in common with the one before, JSON-ready."""
        return {
            "format": FORMAT,
            "model": asdict(self.model),
            "slice_rows": self.slice_rows,
            "inputs": [asdict(file) for file in self.files],
        }


def make_plan(
    model: PlannedModel, scanned: Iterable[tuple[InputFile, Iterable[Slice]]], slice_rows: int
) -> Plan:
    """Number the slices of all files, in order.

    Raises:
        InvalidInput: the inputs hold no record.
    """
    files: list[InputFile] = []
    slices: list[Slice] = []
    for file, parts in scanned:
        files.append(file)
        slices.extend(parts)
    if not slices:
        raise InvalidInput("the inputs hold no record; give files with one record a line", param="FILE")
    numbered = tuple(replace(part, index=i) for i, part in enumerate(slices))
    return Plan(model, tuple(files), numbered, slice_rows)


def check_same(known: Mapping[str, Any], plan: Plan, where: str) -> None:
    """Refuse to continue a run of other inputs, another model or another split.

    Args:
        known: `Plan.identity` of the run that began.
        where: the output, for the message.

    Raises:
        InvalidInput: the message names the first difference.
    """
    difference = _difference(known, plan.identity())
    if difference is not None:
        raise InvalidInput(
            f"{where} holds a run that differs in {difference}; restore that, or choose another --output",
            param="--output",
        )


def _difference(known: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    if known.get("format") != now["format"]:
        return f"format ({known.get('format')}, now {now['format']})"
    for name, value in now["model"].items():
        if known["model"].get(name) != value:
            return f"model.{name} ({known['model'].get(name)}, now {value})"
    if known["slice_rows"] != now["slice_rows"]:
        return f"--slice-rows ({known['slice_rows']}, now {now['slice_rows']})"
    before = {file["url"]: file for file in known["inputs"]}
    for file in now["inputs"]:
        if file["url"] not in before:
            return f"its inputs ({file['url']} is new)"
        if before[file["url"]] != file:
            return f"its inputs ({file['url']} has changed)"
    if known["inputs"] != now["inputs"]:
        return "its inputs (some are missing now, or their order changed)"
    return None
