"""`guerdon data convert`: one file of comparisons to one file of preference records."""

import gzip
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guerdon_service.core.conversation import Conversation, check_conversation
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.whole_file import whole_file
from guerdon_training.convert.parquet import write_parquet
from guerdon_training.convert.preference_record import preference_record
from guerdon_training.convert.row_format import PARSERS, parse_row
from guerdon_training.convert.side_pair import SidePair
from guerdon_training.convert.source_row import Place, read_rows

FORMATS = (*PARSERS, "csv", "parquet")
TARGETS = (".jsonl", ".jsonl.gz", ".parquet")


@dataclass(frozen=True, slots=True)
class Dropped:
    """A well-formed row that is no comparison, or no new one, and why."""

    place: Place
    reason: str


@dataclass(frozen=True, slots=True)
class Conversion:
    """How many records were written, and the rows left out."""

    num_written: int
    dropped: tuple[Dropped, ...]


def convert(source: Path, target: Path, source_format: str | None = None) -> Conversion:
    """Write `source` as preference records to `target` (.jsonl, .jsonl.gz or .parquet).

    A malformed row stops the conversion; a row that carries no comparison (an empty prompt or response, equal
    responses, prompts that differ) or repeats an earlier one is left out and listed. `target` appears whole
    or not at all.

    Args:
        source_format: one of `FORMATS`; None takes the container from the name, the format from each row.

    Raises:
        InvalidInput: a target of another name, an unreadable file, a malformed row, an id used twice, or no
            row left.
    """
    if not target.name.endswith(TARGETS):
        raise InvalidInput(
            f"{target} is no name for preference records; let it end in one of {', '.join(TARGETS)}",
            param="output",
        )
    kept: dict[str, tuple[Place, dict[str, Any]]] = {}
    dropped: list[Dropped] = []
    clashes: list[str] = []
    container = source_format if source_format in ("csv", "parquet") else None
    for row in read_rows(source, container):
        pair = parse_row(row, source_format if source_format in PARSERS else None)
        if reason := _why_no_comparison(pair):
            dropped.append(Dropped(row.place, reason))
            continue
        _check_text(row.place, pair)
        record = preference_record(row, pair)
        first, known = kept.setdefault(record["id"], (row.place, record))
        if known != record:
            same = "has the id of" if "id" in row.values else "has no id and is the same pair as"
            clashes.append(f"{row.place} {same} {first} and differs from it")
        elif first != row.place:
            dropped.append(Dropped(row.place, f"it repeats {first}"))
    _refuse_any(clashes)
    if not kept:
        why = dropped[0].reason
        raise InvalidInput(f"{source} holds no comparison (in the first row {why}); check it", param="data")
    _write(target, [record for _, record in kept.values()])
    return Conversion(len(kept), tuple(dropped))


def _refuse_any(clashes: list[str]) -> None:
    if clashes:
        more = f" (and {len(clashes) - 1} more)" if clashes[1:] else ""
        raise InvalidInput(f"{clashes[0]}{more}; remove one, or give each its own id", param="id")


def _check_text(place: Place, pair: SidePair) -> None:
    for name, response in (("chosen", pair.chosen), ("rejected", pair.rejected)):
        check_conversation(Conversation(pair.prompt, response), f"{place}: prompt", f"{place}: {name}")


def _why_no_comparison(pair: SidePair) -> str:
    if pair.prompt != pair.rejected_prompt:
        return "the prompts of chosen and rejected differ"
    if not any(m.content.strip() for m in pair.prompt if m.role == "user"):
        return "the prompt has no user turn with text"
    if not (pair.chosen.strip() and pair.rejected.strip()):
        return "a response is empty"
    return "chosen equals rejected" if pair.chosen == pair.rejected else ""


def _write(target: Path, records: list[dict[str, Any]]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(target) as draft:
        if target.suffix == ".parquet":
            write_parquet(draft, records)
        else:
            draft.write_bytes(_json_lines(records, compressed=target.suffix == ".gz"))


def _json_lines(records: Iterable[dict[str, Any]], *, compressed: bool) -> bytes:
    text = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records).encode()
    if not compressed:
        return text
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as file:  # mtime 0: a rerun gives the same bytes
        file.write(text)
    return buffer.getvalue()
