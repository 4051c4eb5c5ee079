"""``guerdon data agreement``: how far stored feedback agrees, and how reliable each annotator is."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.feedback import Agreement
from guerdon_service.feedback.agreement import measure_agreement
from guerdon_service.state.database import open_existing
from guerdon_service.state.feedback_store import SqlFeedbackStore


def feedback_agreement_command(argv: Sequence[str]) -> int:
    """Print it; 0 when done.

    Raises:
        GuerdonError: the database cannot be reached.
    """
    args = _parser().parse_args(argv)
    if not args.state_url:
        raise InvalidInput("state-url is missing; give the service's --state-url", param="--state-url")
    database = open_existing(args.state_url)
    try:
        found = measure_agreement(SqlFeedbackStore(database).read(args.tenant))
    finally:
        database.close()
    sys.stdout.write(json.dumps(asdict(found), indent=2) + "\n" if args.json else _text(found))
    return 0


def _text(found: Agreement) -> str:
    if found.alpha is None:
        return "no two people judged the same two answers\n"
    alpha = found.alpha
    lines = [
        f"Krippendorff's alpha {alpha.value:.3f} [{alpha.low:.3f}, {alpha.high:.3f}] over "
        f"{found.num_questions} question{'s' * (found.num_questions != 1)} that two or more people judged"
    ]
    for name, accuracy in sorted(found.accuracy.items(), key=lambda entry: entry[1]):
        lines.append(f"{accuracy:.3f}  {name or '(unnamed)'}  ({found.num_judgements[name]} judgements)")
    return "\n".join(lines) + "\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="guerdon data agreement", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    url = os.environ.get("GUERDON_STATE_URL", "")
    add("--state-url", metavar="URL", default=url, help="the service's database ($GUERDON_STATE_URL)")
    add("--tenant", metavar="NAME", help="only what this API key's holder sent (all)")
    add("--json", action="store_true", help="print it as JSON")
    return parser
