"""``guerdon rank``: the candidates of each record, best first."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from guerdon.cli.bulk import Options, Verb
from guerdon.cli.command import add_bulk_parser
from guerdon.cli.output import Record
from guerdon.cli.records import Candidates, candidates_of
from guerdon.client import AsyncClient
from guerdon.types import ModelRef


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    record = '{"prompt" | "messages", "candidates"}'
    add_bulk_parser(commands, RANK, "rank the candidates in each record of a file", record)


async def _send(
    client: AsyncClient, asked: Sequence[Candidates], options: Options
) -> tuple[ModelRef, list[Record]]:
    (one,) = asked  # a request ranks one prompt's candidates
    result = await client.rank(
        one.prompt, one.responses, model=options.model, profile=options.profile, lane=options.lane
    )
    return result.model, [{"results": [asdict(candidate) for candidate in result.results]}]


RANK = Verb("rank", candidates_of, _send, batch_size=1)
