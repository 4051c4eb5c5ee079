"""RewardBench's data, versions 1 and 2, from JSONL, its gzipped form, or Parquet."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from guerdon.cli.input import open_input
from guerdon.errors import GuerdonError, InvalidInput
from guerdon.types import Item, Prompt


@dataclass(frozen=True, slots=True)
class Case:
    """One prompt and its responses, the correct ones first."""

    id: str
    subset: str
    prompt: Prompt
    responses: tuple[str, ...]
    num_correct: int

    @property
    def items(self) -> list[Item]:
        """What is scored."""
        return [Item(self.prompt, response) for response in self.responses]


def read_cases(name: str) -> list[Case]:
    """All cases of one file.

    Raises:
        InvalidInput: a record is not of either version.
        GuerdonError: a Parquet file without the extra that reads it.
    """
    return [_case(record, f"{name}, record {i}") for i, record in enumerate(_records(name))]


def _records(name: str) -> Iterator[Any]:
    if name.endswith(".parquet"):
        yield from _parquet(name)
        return
    with TemporaryDirectory(prefix="guerdon-") as folder:
        for i, line in open_input(name, Path(folder)).lines():
            try:
                yield json.loads(line)
            except ValueError as err:
                raise InvalidInput(f"{name}, line {i + 1}, is not JSON: {err}", param="FILE") from None


def _parquet(name: str) -> list[dict[str, Any]]:
    try:
        from pyarrow.parquet import read_table
    except ModuleNotFoundError:
        raise GuerdonError(
            f"{name} needs the package pyarrow; install it with pip install 'guerdon[parquet]'"
        ) from None
    try:
        rows: list[dict[str, Any]] = read_table(name).to_pylist()
    except (OSError, ValueError) as err:
        raise InvalidInput(f"{name} cannot be read: {err}", param="FILE") from None
    return rows


def _case(record: Any, where: str) -> Case:
    if not isinstance(record, dict):
        raise InvalidInput(f"{where} is no object; give RewardBench's records", param="FILE")
    for field in ("prompt", "chosen", "rejected"):
        if not record.get(field):
            raise InvalidInput(f"{where} has no {field}; give RewardBench's records", param=field)
    chosen, rejected = (_responses(record[field], f"{where}, {field}") for field in ("chosen", "rejected"))
    return Case(
        id=str(record.get("id", "")),
        subset=str(record.get("subset") or "all"),
        prompt=record["prompt"],
        responses=(*chosen, *rejected),
        num_correct=len(chosen),
    )


def _responses(value: Any, where: str) -> list[str]:
    """One response, or a list of them."""
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise InvalidInput(f"{where} is neither a text nor a list of texts", param="FILE")
    return found
