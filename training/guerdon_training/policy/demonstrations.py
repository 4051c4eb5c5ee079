"""Demonstrations: prompts with a response worth imitating."""

from dataclasses import dataclass
from pathlib import Path

from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput
from guerdon_training.convert.source_row import SourceRow, read_rows
from guerdon_training.convert.trl import parse_prompt
from guerdon_training.record import check_unicode


@dataclass(frozen=True, slots=True)
class Demonstration:
    """`response` is what the assistant should say after `prompt`."""

    id: str
    prompt: tuple[Message, ...]
    response: str
    source: str


def read_demonstrations(path: Path) -> list[Demonstration]:
    """Records ``{prompt: text or [{role, content}], response}``, as JSON Lines, CSV or Parquet.

    Raises:
        InvalidInput: a file or line that cannot be used, or two with one id; the message says which, and
            the remedy.
    """
    found: dict[str, Demonstration] = {}
    for row in read_rows(path):
        record = _parse(row)
        if record.id in found:
            raise InvalidInput(f"{row.place} repeats the id {record.id!r}; drop one of them", param="data")
        found[record.id] = record
    return list(found.values())


def _parse(row: SourceRow) -> Demonstration:
    values, place = row.values, row.place
    check_unicode(values, str(place))
    response = values.get("response")
    if not values.get("prompt") or not isinstance(response, str) or not response:
        raise InvalidInput(
            f"{place} is not a demonstration; each line needs a prompt and a non-empty response", param="data"
        )
    prompt = parse_prompt(values["prompt"], place)
    if prompt[-1].role == "assistant":
        raise InvalidInput(
            f"{place}: prompt ends with an assistant turn; make that turn the response", param="data"
        )
    return Demonstration(str(values.get("id", place)), prompt, response, str(values.get("source") or ""))
