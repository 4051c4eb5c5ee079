"""Arguments of the commands that ask a running service, and how they print what it says."""

import argparse
import json
import os
import sys
from dataclasses import asdict
from typing import Any

from guerdon.cli.command import DEFAULT_URL
from guerdon.client import Client


def add_service_arguments(parser: argparse.ArgumentParser) -> None:
    """``--url`` and ``--json``."""
    parser.add_argument(
        "--url",
        default=os.environ.get("GUERDON_URL", DEFAULT_URL),
        help="http://HOST:PORT or grpc://HOST:PORT (default: $GUERDON_URL or %(default)s); "
        "the API key is read from $GUERDON_API_KEY",
    )
    parser.add_argument("--json", action="store_true", help="print the service's whole answer as JSON")


def open_client(args: argparse.Namespace) -> Client:
    """A client of ``--url``."""
    return Client(args.url, api_key=os.environ.get("GUERDON_API_KEY"))


def print_json(value: Any) -> None:
    """A result, several, or plain values as one JSON document."""
    sys.stdout.write(json.dumps(value, indent=2, default=asdict) + "\n")
