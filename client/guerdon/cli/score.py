"""``guerdon score``: the reward of each record."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from guerdon.cli.bulk import Options, Verb
from guerdon.cli.command import add_bulk_parser
from guerdon.cli.output import Record
from guerdon.cli.records import item_of
from guerdon.client import AsyncClient
from guerdon.types import Item, ModelRef


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    add_bulk_parser(commands, SCORE, "score the records of a file", '{"prompt" | "messages", "response"}')
    commands.choices["score"].epilog = (
        "With --engine local or --engine ray no service is asked: many files are scored by the engine in "
        "process, on one machine or a cluster, into a folder of Parquet; "
        "`guerdon score --engine local --help` tells more."
    )


async def _send(
    client: AsyncClient, items: Sequence[Item], options: Options
) -> tuple[ModelRef, list[Record]]:
    result = await client.score(items, model=options.model, profile=options.profile, lane=options.lane)
    return result.model, [asdict(score) for score in result.scores]


SCORE = Verb("score", item_of, _send, batch_size=64)
