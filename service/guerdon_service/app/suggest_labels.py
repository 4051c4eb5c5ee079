"""``guerdon data suggest``: which pairs of candidates to label next.

Asked for are the pairs that an ensemble's members contradict each other about most: the mutual information of
the label and the member (BALD), from the members' spread that is logged beside each reward. Without an
ensemble it is the pairs whose rewards are closest.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.whole_file import write_whole
from guerdon_service.feedback.candidates_file import read_candidates
from guerdon_service.feedback.question import question_key
from guerdon_service.feedback.suggest import Suggestion, suggest, to_task_lines
from guerdon_service.feedback.trainable import trainable
from guerdon_service.state.candidate_store import SqlCandidateStore
from guerdon_service.state.database import open_existing
from guerdon_service.state.feedback_store import SqlFeedbackStore


def suggest_labels_command(argv: Sequence[str]) -> int:
    """Write one line per pair; 0 when done.

    Raises:
        GuerdonError: the candidates cannot be read, or the file cannot be written.
    """
    args = _parser().parse_args(argv)
    if args.num < 1:
        raise InvalidInput(f"num is {args.num}; give 1 or more", param="--num")
    if args.seed < 0:
        raise InvalidInput(f"seed is {args.seed}; give 0 or more", param="--seed")
    found = _suggested(args)
    try:
        write_whole(args.output, "".join(to_task_lines(found, args.seed)))
    except OSError as err:
        raise InvalidInput(f"{args.output} cannot be written: {err}", param="--output") from None
    sys.stderr.write(_summary(found, args.output))
    if args.json:
        told = {"output": str(args.output), "information_nats": [s.information for s in found]}
        sys.stdout.write(json.dumps(told) + "\n")
    return 0


def _suggested(args: argparse.Namespace) -> list[Suggestion]:
    if args.candidates is not None:
        return suggest(trainable(read_candidates(args.candidates)), args.num)
    if not args.state_url:
        raise InvalidInput(
            "state-url is missing; give the service's --state-url, or --candidates FILE", param="--state-url"
        )
    with closing(open_existing(args.state_url)) as database:
        judged = SqlFeedbackStore(database).read(args.tenant)
        labelled = {question_key(f.prompt, f.chosen, f.rejected) for f in judged}
        return suggest(trainable(SqlCandidateStore(database).read(args.tenant)), args.num, labelled)


def _summary(found: Sequence[Suggestion], output: Path) -> str:
    told = f"wrote {len(found)} pairs to {output}"
    if not found:
        return f"{told}; candidates are kept only by guerdon serve --log-candidates true\n"
    high, low = found[0].information, found[-1].information
    if high == 0.0:
        return f"{told}; no ensemble's spread is known, so by the smallest margin\n"
    return f"{told}; a label is expected to tell {high:.3f} to {low:.3f} nats\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="guerdon data suggest", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    source = parser.add_mutually_exclusive_group()
    url = os.environ.get("GUERDON_STATE_URL", "")
    source.add_argument(
        "--state-url",
        metavar="URL",
        default=url,
        help="the service's database, with candidates of best-of-n that have no label yet "
        "($GUERDON_STATE_URL)",
    )
    source.add_argument(
        "--candidates",
        metavar="FILE",
        type=Path,
        help="instead: JSON Lines of {prompt, candidates: [{text, reward, std}], model}",
    )
    add("--output", metavar="OUT", required=True, type=Path, help="JSON Lines file to write")
    add("--num", metavar="N", type=int, default=100, help="most pairs, at most one per prompt (100)")
    add("--seed", metavar="N", type=int, default=0, help="of the order of lines and responses (0)")
    add("--tenant", metavar="NAME", help="only what this API key's holder sent (all)")
    add("--json", action="store_true", help="print what a label of each pair is expected to tell as JSON")
    return parser
