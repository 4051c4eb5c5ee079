"""``guerdon compare``: which of two responses is preferred, for each record."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from guerdon.cli.bulk import Options, Verb
from guerdon.cli.command import add_bulk_parser
from guerdon.cli.output import Record
from guerdon.cli.records import pair_of
from guerdon.client import AsyncClient
from guerdon.types import ModelRef, Pair


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    record = '{"prompt" | "messages", "a", "b"}, or with "chosen" and "rejected" for a and b'
    add_bulk_parser(commands, COMPARE, "compare the two responses in each record of a file", record)


async def _send(
    client: AsyncClient, pairs: Sequence[Pair], options: Options
) -> tuple[ModelRef, list[Record]]:
    result = await client.compare(pairs, model=options.model, profile=options.profile, lane=options.lane)
    return result.model, [asdict(preference) for preference in result.preferences]


COMPARE = Verb("compare", pair_of, _send, batch_size=32)
