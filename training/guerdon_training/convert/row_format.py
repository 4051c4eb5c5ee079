"""Which format a row is in, and the one function that reads each."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from guerdon_service.core.errors import InvalidInput
from guerdon_training.convert.flat import parse_flat
from guerdon_training.convert.hh_rlhf import is_transcript, parse_hh_rlhf
from guerdon_training.convert.side_pair import SidePair
from guerdon_training.convert.source_row import SourceRow
from guerdon_training.convert.trl import parse_trl

PARSERS: Mapping[str, Callable[[SourceRow], SidePair]] = MappingProxyType(
    {"trl": parse_trl, "hh-rlhf": parse_hh_rlhf, "rewardbench": parse_flat}
)


def parse_row(row: SourceRow, row_format: str | None = None) -> SidePair:
    """The comparison in a row, in the named format or in the one its columns show.

    Raises:
        InvalidInput: the row is in no known format; the message names file, line and remedy.
    """
    return PARSERS[row_format or _detect(row)](row)


def _detect(row: SourceRow) -> str:
    values: Mapping[str, Any] = row.values
    if {"responses", "ranks"} <= values.keys():
        raise InvalidInput(
            f"{row.place} is a ranking, which the recipes read as it is; convert is for pairs", param="data"
        )
    if values.get("chosen") is None or values.get("rejected") is None:
        have = ", ".join(map(str, values))
        raise InvalidInput(
            f"{row.place} has no chosen or no rejected (it has {have}); add both", param="data"
        )
    if isinstance(values["chosen"], list):
        return "trl"
    if values.get("prompt") is not None:
        return "rewardbench"
    if is_transcript(values["chosen"]):
        return "hh-rlhf"
    raise InvalidInput(
        f"{row.place} has no prompt, and chosen is no transcript; add a prompt column", param="prompt"
    )
