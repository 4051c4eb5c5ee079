"""Arguments of the commands that ask a running service, and how they print what it says."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from guerdon.cli.environment import add_url, api_key, tls_for
from guerdon.client import Client

Ask = Callable[[Client, argparse.Namespace], Any]


def add_service_arguments(parser: argparse.ArgumentParser) -> None:
    """``--url`` and ``--json``."""
    add_url(parser)
    add_json(parser)


def add_json(parser: argparse.ArgumentParser) -> None:
    """``--json``."""
    parser.add_argument("--json", action="store_true", help="print the service's whole answer as JSON")


def open_client(args: argparse.Namespace) -> Client:
    """A client of ``--url``."""
    return Client(args.url, api_key=api_key(), tls=tls_for(args.url))


def add_verb(
    verbs: Any, name: str, summary: str, ask: Ask, show: Callable[[Any], str], *positional: str
) -> argparse.ArgumentParser:
    """Add a verb that asks a service and shows its answer; `positional` are the names of its arguments."""
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=summary, description=f"{summary}.")
    for metavar in positional:
        parser.add_argument(metavar.lower(), metavar=metavar)
    add_service_arguments(parser)

    def run(args: argparse.Namespace) -> int:
        with open_client(args) as client:
            found = ask(client, args)
        if args.json:
            print_json(found)
        else:
            print(show(found))
        return 0

    parser.set_defaults(run=run)
    return parser


def print_json(value: Any) -> None:
    """A result, several, or plain values as one JSON document."""
    sys.stdout.write(json.dumps(value, indent=2, default=asdict) + "\n")
