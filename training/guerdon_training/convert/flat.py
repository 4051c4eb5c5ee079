"""Rows of plain columns: RewardBench (prompt, chosen, rejected, subset), and tables in CSV or Parquet."""

from guerdon_service.core.errors import InvalidInput
from guerdon_training.convert.side_pair import SidePair
from guerdon_training.convert.source_row import SourceRow
from guerdon_training.convert.trl import parse_prompt


def parse_flat(row: SourceRow) -> SidePair:
    """The comparison in one row: `prompt` as text, JSON messages or messages; two responses as text.

    Raises:
        InvalidInput: a column is missing or is not text.
    """
    for field in ("prompt", "chosen", "rejected"):
        if row.values.get(field) is None:
            have = ", ".join(map(str, row.values))
            raise InvalidInput(
                f"{row.place} has no column {field} (it has {have}); add or rename it", param=field
            )
    prompt = parse_prompt(row.values["prompt"], row.place)
    return SidePair(prompt, prompt, _response(row, "chosen"), _response(row, "rejected"))


def _response(row: SourceRow, field: str) -> str:
    value = row.values[field]
    if not isinstance(value, str):
        raise InvalidInput(
            f"{row.place}: {field} must be text, not {type(value).__name__}; fix it", param=field
        )
    return value
