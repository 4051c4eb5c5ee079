"""One part file: the scores of one slice as Parquet."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa
from pyarrow import parquet

from guerdon_service.bulk.plan import Plan, Slice
from guerdon_service.bulk.records import Row
from guerdon_service.core.errors import GuerdonError
from guerdon_service.core.result import Score

_NUMBERS = pa.map_(pa.string(), pa.float64())
SCHEMA = pa.schema(
    [
        pa.field("file", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("id", pa.string()),
        pa.field("reward", pa.float64()),
        pa.field("std", pa.float64()),
        pa.field("attributes", _NUMBERS),
        pa.field("raw", _NUMBERS),
        pa.field("tokens", pa.int32()),
        pa.field("truncated", pa.bool_()),
        pa.field(
            "error", pa.struct([("code", pa.string()), ("message", pa.string()), ("param", pa.string())])
        ),
    ]
)
"""Columns of every part. A row has either `error` or all that stands between `id` and it.

`row` counts from 0 within `file`, blank lines included, as ``index`` of ``guerdon score`` does.
"""

Outcome = Score | GuerdonError


@dataclass(frozen=True, slots=True)
class Finished:
    """That one slice is done: what the manifest keeps of it.

    part: name of its file, which has so many bytes.
    worker: ``HOST:PID`` of the process that wrote it.
    """

    slice: int
    part: str
    part_bytes: int
    num_rows: int
    num_errors: int
    num_tokens: int
    worker: str


def part_name(part: Slice) -> str:
    """Name of the slice's file: the same whoever writes it, so that twice is once."""
    return f"part-{part.index:06d}.parquet"


def part_metadata(plan: Plan) -> dict[str, str]:
    """What each part's schema says of its origin: the run and the model."""
    model = {f"guerdon.model.{name}": value for name, value in asdict(plan.model).items()}
    return {"guerdon.plan": plan.digest} | model


def part_bytes(
    part: Slice, rows: Sequence[Row], outcomes: Sequence[Outcome], metadata: Mapping[str, str]
) -> bytes:
    """The part file's bytes; equal arguments give equal bytes.

    Args:
        outcomes: one of each row, in order.
    """
    records = [_record(part.url, row, outcome) for row, outcome in zip(rows, outcomes, strict=True)]
    table = pa.Table.from_pylist(records, schema=SCHEMA.with_metadata(dict(metadata)))
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _record(url: str, row: Row, outcome: Outcome) -> dict[str, object]:
    head: dict[str, object] = {"file": url, "row": row.index, "id": row.id}
    if isinstance(outcome, GuerdonError):
        error = {"code": outcome.code, "message": outcome.message, "param": outcome.param}
        return head | {"error": error}
    return head | {
        "reward": outcome.reward,
        "std": outcome.std,
        "attributes": list(outcome.attributes.items()),
        "raw": list(outcome.raw.items()),
        "tokens": outcome.tokens,
        "truncated": outcome.truncated,
    }
