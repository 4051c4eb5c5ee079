"""What `guerdon score`, `compare` and `rank` share: arguments, and the run from file to file."""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any, TypeVar

from guerdon.cli.bulk import Options, Verb, run_bulk
from guerdon.cli.environment import add_url, api_key, tls_for
from guerdon.cli.input import InputFile, open_input
from guerdon.cli.output import Errors, FileOutput, Output, StreamOutput
from guerdon.client import AsyncClient

R = TypeVar("R")


def add_bulk_parser(commands: Any, verb: Verb[R], summary: str, record: str) -> None:
    """Add the subcommand of `verb`; `record` shows an input record."""
    parser: argparse.ArgumentParser = commands.add_parser(
        verb.name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}. A record is {record}; its id, if any, is kept. "
        "Results come in the input's order, each with its line's index; a bad record becomes "
        '{"index", "error"}. With --output, a run that was killed continues where it was.',
    )
    parser.add_argument("file", metavar="FILE", help="JSONL, plain or gzipped; - for standard input")
    parser.add_argument("--output", metavar="OUT", help="JSONL to write and to continue (default: stdout)")
    add_url(parser)
    parser.add_argument("--model", help="name of a loaded model (default: the service's)")
    parser.add_argument("--profile", help="named head weights (default: the model's)")
    parser.add_argument(
        "--lane",
        choices=("interactive", "bulk"),
        default="bulk",
        help="queue lane; bulk yields to interactive callers (default: %(default)s)",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="with --output, print a summary as JSON; without it the results are JSON already",
    )
    parser.set_defaults(run=lambda args: run_command(verb, args))


def run_command(verb: Verb[R], args: argparse.Namespace) -> int:
    """Exit status of one bulk run."""
    with tempfile.TemporaryDirectory(prefix="guerdon-") as folder:
        source = open_input(args.file, Path(folder))
        run = {"verb": verb.name, "input": source.sha256, "model": args.model, "profile": args.profile}
        output = StreamOutput() if args.output is None else FileOutput(Path(args.output), run)
        try:
            errors = asyncio.run(_run(verb, args, source, output))
        finally:
            output.close()
    if errors.first is not None:
        print(
            f"guerdon: {errors.num} of {source.num_records} records became error records; the first is line "
            f"{errors.first['index'] + 1}: {errors.first['error']['message']}",
            file=sys.stderr,
        )
    if args.json and args.output is not None:
        told = {"output": args.output, "num_records": source.num_records, "num_errors": errors.num}
        print(json.dumps(told))
    return 1 if errors.num else 0


async def _run(verb: Verb[R], args: argparse.Namespace, source: InputFile, output: Output) -> Errors:
    from tqdm import tqdm

    options = Options(args.model, args.profile, args.lane)
    url, size = args.url, verb.batch_size
    bar = tqdm(total=source.num_records, initial=len(output.done), unit="rec", desc=verb.name, disable=None)
    async with AsyncClient(url, api_key=api_key(), tls=tls_for(url), chunk_size=size) as client:
        with bar:
            return await run_bulk(verb, client, options, source.lines(), output, bar.update)
