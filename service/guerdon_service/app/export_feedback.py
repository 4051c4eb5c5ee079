"""``guerdon data export``: stored feedback and logged candidates as the records that training reads."""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.whole_file import whole_file
from guerdon_service.feedback.export import to_lines
from guerdon_service.feedback.export_candidates import to_demonstration_lines, to_ranking_lines
from guerdon_service.feedback.trainable import trainable
from guerdon_service.state.candidate_store import SqlCandidateStore
from guerdon_service.state.database import Database, open_existing
from guerdon_service.state.feedback_store import SqlFeedbackStore

KINDS = {"pairs": "judgements", "kwise": "rankings", "sft": "demonstrations"}
"""What may be exported, and what its records are called."""


def export_feedback_command(argv: Sequence[str]) -> int:
    """Write one line per record; 0 when done.

    Raises:
        GuerdonError: the database cannot be reached, or the file cannot be written.
    """
    args = _parser().parse_args(argv)
    if not args.state_url:
        raise InvalidInput("state-url is missing; give the service's --state-url", param="--state-url")
    database = open_existing(args.state_url)
    try:
        lines, num = _lines(database, args.kind, args.tenant), 0
        with whole_file(args.output) as draft, draft.open("w", encoding="utf-8") as file:
            for line in tqdm(lines, desc="export", unit="rec", file=sys.stderr, disable=None):
                file.write(line)
                num += 1
    except OSError as err:
        raise InvalidInput(f"{args.output} cannot be written: {err}", param="--output") from None
    finally:
        database.close()
    sys.stderr.write(f"wrote {num} {KINDS[args.kind]} to {args.output}\n")
    if args.json:
        told = {"output": str(args.output), "kind": args.kind, "num_records": num}
        sys.stdout.write(json.dumps(told) + "\n")
    if not num and args.kind != "pairs":
        sys.stderr.write("candidates are kept only by guerdon serve --log-candidates true\n")
    return 0


def _lines(database: Database, kind: str, tenant: str | None) -> Iterator[str]:
    if kind == "pairs":
        return to_lines(trainable(SqlFeedbackStore(database).read(tenant)))
    records = trainable(SqlCandidateStore(database).read(tenant))
    return to_ranking_lines(records) if kind == "kwise" else to_demonstration_lines(records)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="guerdon data export", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    url = os.environ.get("GUERDON_STATE_URL", "")
    add("--state-url", metavar="URL", default=url, help="the service's database ($GUERDON_STATE_URL)")
    add("--output", metavar="OUT", required=True, type=Path, help="JSON Lines file to write")
    add(
        "--kind",
        choices=tuple(KINDS),
        default="pairs",
        help="people's judgements (pairs), or of logged best-of-n candidates their ranking by reward (kwise) "
        "or the chosen response (sft)",
    )
    add("--tenant", metavar="NAME", help="only what this API key's holder sent (all)")
    add("--json", action="store_true", help="print how many records were written as JSON")
    return parser
