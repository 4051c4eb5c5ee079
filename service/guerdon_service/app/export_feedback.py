"""``guerdon data export``: stored feedback as the preference records that ``guerdon train reward`` reads."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from guerdon_service.core.errors import InvalidInput
from guerdon_service.feedback.export import to_lines
from guerdon_service.state.database import open_database
from guerdon_service.state.feedback_store import SqlFeedbackStore


def export_feedback_command(argv: Sequence[str]) -> int:
    """Write one line per judgement; 0 when done.

    Raises:
        GuerdonError: the database cannot be reached, or the file cannot be written.
    """
    args = _parser().parse_args(argv)
    if not args.state_url:
        raise InvalidInput("state-url is missing; give the service's --state-url", param="--state-url")
    database = open_database(args.state_url)
    try:
        lines, num = to_lines(SqlFeedbackStore(database).read(args.tenant)), 0
        with args.output.open("w", encoding="utf-8") as file:
            for line in lines:
                file.write(line)
                num += 1
    except OSError as err:
        raise InvalidInput(f"{args.output} cannot be written: {err}", param="--output") from None
    finally:
        database.close()
    sys.stderr.write(f"wrote {num} judgements to {args.output}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="guerdon data export", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    url = os.environ.get("GUERDON_STATE_URL", "")
    add("--state-url", metavar="URL", default=url, help="the service's database ($GUERDON_STATE_URL)")
    add("--output", metavar="OUT", required=True, type=Path, help="JSON Lines file to write")
    add("--tenant", metavar="NAME", help="only what this API key's holder sent (all)")
    return parser
