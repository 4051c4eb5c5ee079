"""``guerdon migrate``: bring the state's tables up to date before replicas of a new version start."""

import argparse
import json
import os
from collections.abc import Sequence

from guerdon_service.state.database import open_database


def migrate_command(argv: Sequence[str]) -> int:
    """0 when the tables are up to date, or when there is no durable state.

    Raises:
        GuerdonError: the database cannot be reached, or its URL is wrong.
    """
    parser = argparse.ArgumentParser(
        prog="guerdon migrate",
        description="Bring the tables of --state-url up to date. The service does so when it starts; a job "
        "that runs this first keeps many starting replicas from waiting for each other.",
    )
    parser.add_argument("--state-url", metavar="URL", default=os.environ.get("GUERDON_STATE_URL", ""))
    parser.add_argument("--json", action="store_true", help='print {"migrated"}: whether there was a URL')
    args = parser.parse_args(list(argv))
    url = args.state_url
    if url:
        open_database(url).close()
    told = "the tables are up to date" if url else "no state URL is given: nothing to do"
    print(json.dumps({"migrated": bool(url)}) if args.json else told)  # noqa: T201 - its answer
    return 0
