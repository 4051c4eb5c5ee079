"""The preference record as a JSON object: what `convert` writes and every recipe reads."""

import hashlib
import json
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
        if not _absent(row.values.get(field)):
            record[field] = str(row.values[field])
    for field in NUMBER_FIELDS:
        if not _absent(row.values.get(field)):
            record[field] = _number(row, field)
    for field in OBJECT_FIELDS:
        if not _absent(row.values.get(field)):
            record[field] = _object(row, field)
    return record


def _absent(value: Any) -> bool:
    return value is None or value == ""


def _id(row: SourceRow, prompt: list[dict[str, str]], pair: SidePair) -> str:
    if not _absent(row.values.get("id")):
        return str(row.values["id"])
    key = json.dumps([prompt, pair.chosen, pair.rejected])
    return f"pair-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def _number(row: SourceRow, field: str) -> float:
    value = row.values[field]
    try:
        return value if isinstance(value, int) else float(value)
    except (TypeError, ValueError):
        raise InvalidInput(f"{row.place}: {field} is {value!r}, not a number; fix it", param=field) from None


def _object(row: SourceRow, field: str) -> Mapping[str, Any]:
    value = row.values[field]
    try:
        value = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise InvalidInput(f"{row.place}: {field} must be an object; fix it", param=field)
    return {k: v for k, v in value.items() if v is not None}  # Parquet fills absent keys with null
