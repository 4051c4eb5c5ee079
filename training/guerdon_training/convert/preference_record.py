"""The preference record as a JSON object: what `convert` writes and every recipe reads."""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from guerdon_service.core.errors import InvalidInput
from guerdon_training.convert.side_pair import SidePair
from guerdon_training.convert.source_row import SourceRow

TEXT_FIELDS = (
    "source",
    "subset",
    "split",
    "label_source",
    "language",
    "annotator",
    "chosen_model",
    "rejected_model",
    "chosen_position",
)
NUMBER_FIELDS = ("rank_gap", "margin")
OBJECT_FIELDS = ("votes", "demographics")


def preference_record(row: SourceRow, pair: SidePair) -> dict[str, Any]:
    """The record of a comparison; columns outside the schema are left behind.

    A row without an id gets one from the digest of its texts, so a rerun gives the same ids.

    Raises:
        InvalidInput: a field of the schema has the wrong type.
    """
    prompt = [{"role": m.role, "content": m.content} for m in pair.prompt]
    record: dict[str, Any] = {
        "id": _id(row, prompt, pair),
        "prompt": prompt,
        "chosen": pair.chosen,
        "rejected": pair.rejected,
    }
    for field in TEXT_FIELDS:
        if not is_absent(row.values.get(field)):
            record[field] = str(row.values[field])
    for field in NUMBER_FIELDS:
        if not is_absent(row.values.get(field)):
            record[field] = number_of(row, field)
    for field in OBJECT_FIELDS:
        if not is_absent(row.values.get(field)):
            record[field] = object_of(row, field)
    return record


def is_absent(value: Any) -> bool:
    """Whether a row has no such value; a CSV leaves the cell empty."""
    return value is None or value == ""


def _id(row: SourceRow, prompt: list[dict[str, str]], pair: SidePair) -> str:
    if not is_absent(row.values.get("id")):
        return str(row.values["id"])
    key = json.dumps([prompt, pair.chosen, pair.rejected])
    return f"pair-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def number_of(row: SourceRow, field: str) -> float:
    """A number, or text that says one, as in a CSV.

    Raises:
        InvalidInput: it is none, or none that is finite; the message names row and field.
    """
    value = row.values[field]
    try:
        number: float = value if isinstance(value, int) else float(value)
        if isinstance(value, bool) or not math.isfinite(number):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise InvalidInput(
            f"{row.place}: {field} is {value!r}, not a finite number; fix it", param=field
        ) from None
    return number


def object_of(row: SourceRow, field: str) -> Mapping[str, Any]:
    """An object, or its JSON, as in a CSV.

    Raises:
        InvalidInput: it is none; the message names row and field.
    """
    value = row.values[field]
    try:
        value = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InvalidInput(f"{row.place}: {field} must be an object; fix it", param=field)
    return {k: v for k, v in value.items() if v is not None}  # Parquet fills absent keys with null
