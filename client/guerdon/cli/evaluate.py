"""``guerdon evaluate --url``: a running service measures a model that it has, and against another one."""

import argparse
import sys
from pathlib import Path
from typing import Any

from guerdon.cli.service_args import add_json, open_client, print_json
from guerdon.cli.whole_file import write_whole
from guerdon.client import Client
from guerdon.errors import GuerdonError, InvalidInput
from guerdon.types import Evaluation, ReportFormat


def add_parser(commands: Any) -> None:
    """Add the subcommand; without ``--url`` it is the service's own, see `delegate.find_command`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "evaluate",
        help="measure a model, here or in a running service",
        description="Let a running service measure a model on held-out preferences, and against another one. "
        "The evaluation goes on when this command is interrupted: `guerdon evaluations` lists, follows and "
        "cancels. Without --url the models are loaded here; `guerdon evaluate --help` tells more.",
    )
    add = parser.add_argument
    add(
        "--model",
        required=True,
        metavar="NAME[@VERSION]",
        help="the model: a name, NAME@VERSION or NAME@ALIAS",
    )
    add("--against", metavar="NAME[@VERSION]", help="the model to compare with, on the same items")
    add(
        "--data", required=True, metavar="NAME", help="a file of the service's data folder, by its name there"
    )
    add("--profile", metavar="NAME", help="head weights, of both models (each one's default)")
    add("--margin", type=float, help="loss of accuracy that still counts as not worse (0.02)")
    add("--robustness", type=int, metavar="N", help="also change the chosen response of N pairs")
    add("--report", type=Path, metavar="OUT", help="the report as one HTML page")
    add("--markdown", type=Path, metavar="OUT", help="the report for a pull request")
    add(
        "--url",
        required=True,
        help="http://HOST:PORT or grpc://HOST:PORT of the service; its API key is read from $GUERDON_API_KEY",
    )
    add_json(parser)
    parser.set_defaults(run=run_evaluate)


def run_evaluate(args: argparse.Namespace) -> int:
    """Exit status: 0 whatever the verdict.

    Raises:
        GuerdonError: the service refused the evaluation, or it failed or was cancelled.
    """
    outputs: dict[ReportFormat, Path | None] = {"html": args.report, "markdown": args.markdown}
    for path in outputs.values():
        if path is not None and not path.parent.is_dir():
            raise InvalidInput(f"{path}: its folder does not exist; make it first", param="output")
    with open_client(args) as client:
        started = client.evaluate(
            args.model,
            args.data,
            baseline=args.against,
            profile=args.profile,
            margin=args.margin,
            robustness=args.robustness,
            wait=False,
        )
        print(f"evaluation {started.id}", file=sys.stderr, flush=True)  # promote asks for it
        report_end(client, started, as_json=args.json)
        _write(client, started.id, outputs)
    return 0


def report_end(client: Client, started: Evaluation, *, as_json: bool) -> None:
    """Wait for the evaluation's end and print what it found.

    Raises:
        GuerdonError: it failed or was cancelled.
        SystemExit: Ctrl-C ended the waiting.
    """
    try:
        done = _followed(client, started)
    except KeyboardInterrupt:
        told = (
            f"evaluation {started.id} goes on; `guerdon evaluations follow {started.id}` waits for it again"
        )
        print(f"guerdon: {told}, `cancel` stops it", file=sys.stderr)
        raise SystemExit(130) from None
    if as_json:
        print_json(done)
    else:
        sys.stdout.write(client.evaluation_report(done.id, "plain"))


def _followed(client: Client, started: Evaluation) -> Evaluation:
    from tqdm import tqdm

    with tqdm(total=started.total, unit="item", desc="evaluate", disable=None) as bar:

        def show(state: Evaluation) -> None:
            bar.total = state.total
            bar.update(state.done - bar.n)

        ended = client.follow_evaluation(started.id, show)
    if ended.state != "done":
        raise GuerdonError(f"evaluation {ended.id} {_why(ended)}")
    return ended


def _why(ended: Evaluation) -> str:
    return f"failed: {ended.error}" if ended.state == "failed" else "was cancelled"


def _write(client: Client, evaluation_id: str, outputs: dict[ReportFormat, Path | None]) -> None:
    for format, path in outputs.items():
        if path is not None:
            write_whole(path, client.evaluation_report(evaluation_id, format))
            print(f"wrote {path}", file=sys.stderr)
