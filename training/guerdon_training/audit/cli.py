"""`guerdon data audit`, `guerdon data convert` and `guerdon data split`."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.whole_file import write_whole
from guerdon_training.audit.check import Check, Verdict
from guerdon_training.audit.read import read_records
from guerdon_training.audit.records import DEFAULT_BUDGET, Budget
from guerdon_training.audit.registry import CHECKS
from guerdon_training.audit.report import audit, report_json
from guerdon_training.audit.report_html import report_html
from guerdon_training.convert.conversion import FORMATS, convert
from guerdon_training.split_file import SHARES, split_file

OK, FAILED = 0, 1
STDOUT = Path("-")
"""Of --json without a file."""
MAX_DROPPED_SHOWN = 20


def data_command(argv: list[str]) -> int:
    """Run `data audit`, `data convert` or `data split`.

    Returns:
        0; 1 when a check of the audit fails.

    Raises:
        InvalidInput: a file cannot be used; the message names file, line and remedy.
    """
    args = _parser().parse_args(argv)
    return {"audit": _audit, "convert": _convert, "split": _split}[args.command](args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="guerdon data",
        description="Look at preference data, convert and split it.",
        epilog="The service's own data: `guerdon data export` (feedback and candidates as training data), "
        "`guerdon data agreement` and `guerdon data suggest` (what to label next); each has its --help.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    audit_parser = commands.add_parser("audit", help="check files; exit 1 when a check fails")
    audit_parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="give all splits together")
    audit_parser.add_argument(
        "--against", nargs="+", type=Path, default=[], metavar="FILE", help="evaluation files"
    )
    audit_parser.add_argument(
        "--json",
        type=Path,
        nargs="?",
        const=STDOUT,
        metavar="OUT",
        help="write the report as JSON (to standard output)",
    )
    audit_parser.add_argument("--html", type=Path, metavar="OUT", help="write the report as HTML")
    limit = audit_parser.add_mutually_exclusive_group()
    limit.add_argument("--max-chars", type=int, metavar="N", help=f"context, default {DEFAULT_BUDGET.limit}")
    limit.add_argument("--max-tokens", type=int, metavar="N", help="context in tokens of --tokenizer")
    audit_parser.add_argument("--tokenizer", type=Path, metavar="DIR", help="folder of a tokenizer")
    convert_parser = commands.add_parser(
        "convert", help="write preference records (.jsonl, .jsonl.gz, .parquet)"
    )
    convert_parser.add_argument("source", type=Path, metavar="IN")
    convert_parser.add_argument("target", type=Path, metavar="OUT")
    convert_parser.add_argument(
        "--from", dest="source_format", choices=FORMATS, help="default: seen from the rows"
    )
    convert_parser.add_argument("--json", action="store_true", help="print what was written and left out")
    shares = ", ".join(f"{name} {share:.0%}" for name, share in SHARES.items())
    split_parser = commands.add_parser(
        "split",
        help="make train, valid and test files, no prompt in two",
        description=f"Split one file of preference records by prompt ({shares} of the prompts): FOLDER gets "
        "train.jsonl, valid.jsonl and test.jsonl. A prompt's place hangs on its first user turn and the seed "
        "alone, so a file that has grown is split as before.",
    )
    split_parser.add_argument("source", type=Path, metavar="FILE", help="as guerdon data convert writes it")
    split_parser.add_argument("--output", type=Path, required=True, metavar="FOLDER")
    split_parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of another split (default: 0)"
    )
    split_parser.add_argument("--json", action="store_true", help="print what was written")
    return parser


def _audit(args: argparse.Namespace) -> int:
    started = time.monotonic()
    records = read_records(args.files, args.against, _budget(args))
    with tqdm(total=len(CHECKS), desc="audit", unit="check", file=sys.stderr, disable=None) as bar:
        report = audit(records, args.files, args.against, on_check=partial(_show, bar, args.json != STDOUT))
    for path, text in ((args.json, report_json), (args.html, report_html)):
        if path not in (None, STDOUT):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, text(report))
    seconds = time.monotonic() - started
    told = f"\n{report.verdict}: {len(report.checks)} checks in {seconds:.1f} s\n"
    sys.stdout.write(report_json(report) if args.json == STDOUT else told)
    return FAILED if report.verdict is Verdict.FAIL else OK


def _show(bar: "tqdm[NoReturn]", to_stdout: bool, check: Check) -> None:
    bar.update()
    if to_stdout:
        bar.write(f"{check.verdict:<15} {check.name:<18} {check.reason}")


def _budget(args: argparse.Namespace) -> Budget:
    limit = args.max_tokens or args.max_chars or DEFAULT_BUDGET.limit
    if limit < 1:
        raise InvalidInput("--max-chars and --max-tokens must be at least 1; raise them", param="max_chars")
    if args.max_tokens is None:
        return Budget(limit, DEFAULT_BUDGET.unit, DEFAULT_BUDGET.split)
    if args.tokenizer is None:
        raise InvalidInput("--max-tokens needs --tokenizer DIR; give both, or --max-chars", param="tokenizer")
    return Budget(limit, "tokens", _tokenize(args.tokenizer))


def _tokenize(folder: Path) -> Callable[[str], Sequence[int]]:
    if not folder.is_dir():
        raise InvalidInput(f"--tokenizer {folder} is no folder; give one with a tokenizer", param="tokenizer")
    from transformers import AutoTokenizer  # only here: it takes seconds to import

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)

    def split(text: str) -> Sequence[int]:
        ids: Sequence[int] = tokenizer(text, add_special_tokens=False).input_ids
        return ids

    return split


def _convert(args: argparse.Namespace) -> int:
    done = convert(args.source, args.target, args.source_format)
    for dropped in done.dropped[:MAX_DROPPED_SHOWN]:
        sys.stderr.write(f"left out {dropped.place}: {dropped.reason}\n")
    if len(done.dropped) > MAX_DROPPED_SHOWN:
        sys.stderr.write(f"left out {len(done.dropped) - MAX_DROPPED_SHOWN} more\n")
    text = f"{done.num_written} records to {args.target}, {len(done.dropped)} rows left out\n"
    left_out = [{"place": str(d.place), "reason": d.reason} for d in done.dropped]
    told = {"output": str(args.target), "num_records": done.num_written, "left_out": left_out}
    sys.stdout.write(json.dumps(told) + "\n" if args.json else text)
    return OK


def _split(args: argparse.Namespace) -> int:
    counts = split_file(args.source, args.output, args.seed)
    records = ", ".join(f"{name} {num}" for name, num in counts.items())
    text = f"records to {args.output}: {records}; no prompt is in two\n"
    told = {"output": str(args.output), "num_records": counts}
    sys.stdout.write(json.dumps(told) + "\n" if args.json else text)
    return OK
