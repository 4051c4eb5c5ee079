"""Arguments of the commands that ask a running service, and how they print what it says."""

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from guerdon.cli.environment import add_url, api_key, tls_for
from guerdon.client import Client


def add_service_arguments(parser: argparse.ArgumentParser) -> None:
    """``--url`` and ``--json``."""
    add_url(parser)
    parser.add_argument("--json", action="store_true", help="print the service's whole answer as JSON")


def open_client(args: argparse.Namespace) -> Client:
    """A client of ``--url``."""
    return Client(args.url, api_key=api_key(), tls=tls_for(args.url))


def print_json(value: Any) -> None:
    """A result, several, or plain values as one JSON document."""
    sys.stdout.write(json.dumps(value, indent=2, default=asdict) + "\n")
