"""``guerdon evaluations``: which ones a service has, how one ends, and a way to stop it."""

import argparse
from typing import Any

from guerdon.cli.evaluate import report_end
from guerdon.cli.service_args import add_service_arguments, add_verb, open_client
from guerdon.cli.table import figure, format_table
from guerdon.client import Client
from guerdon.types import Evaluation


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "evaluations",
        help="list, follow and cancel evaluations of a running service",
        description="Ask a running service about its evaluations, which `guerdon evaluate --url` starts.",
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    add_verb(verbs, "list", "evaluations, newest first", _list, _show)
    summary = "wait for an evaluation's end and print what it found"
    follow = verbs.add_parser("follow", help=summary, description=f"{summary}.")
    follow.add_argument("id", metavar="ID")
    add_service_arguments(follow)
    follow.set_defaults(run=_follow)
    add_verb(
        verbs, "cancel", "stop an evaluation; what it scored is kept", _cancel, lambda e: _show((e,)), "ID"
    )


def _list(client: Client, args: argparse.Namespace) -> tuple[Evaluation, ...]:
    return client.evaluations()


def _follow(args: argparse.Namespace) -> int:
    with open_client(args) as client:
        report_end(client, client.evaluation(args.id), as_json=args.json)
    return 0


def _cancel(client: Client, args: argparse.Namespace) -> Evaluation:
    return client.cancel_evaluation(args.id)


def _show(evaluations: tuple[Evaluation, ...]) -> str:
    header = ("id", "state", "candidate", "baseline", "data", "scored", "accuracy", "verdict")
    rows = [
        (
            e.id,
            e.state,
            e.candidate,
            e.baseline or "",
            e.dataset,
            f"{e.done} of {e.total}",
            figure(e.accuracy),
            e.verdict or "",
        )
        for e in evaluations
    ]
    return format_table([header, *rows])
