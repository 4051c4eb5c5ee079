"""``guerdon demo``: start the service, ask it everything over REST and gRPC, and stop it."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guerdon.cli.demo_decisions import show_decisions
from guerdon.cli.demo_scoring import show_scores
from guerdon.cli.service_process import running_service
from guerdon.errors import GuerdonError

READY_S = 180.0
"""A first start on a slow machine reads the weights from a cold disk and replays the certificate."""


def add_parser(commands: Any) -> None:
    """Add the subcommand."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "demo",
        help="start the service, score, evaluate, promote, choose and roll back over REST and gRPC, stop it",
        description="Starts `guerdon serve` with the default model on free ports and asks it everything over "
        "REST and gRPC: scores that are equal bit for bit, two versions of a reward model that are evaluated "
        "on held-out preferences, a promotion, best-of-n with a language model, and a rollback that no "
        "caller notices.",
    )
    default = Path(tempfile.gettempdir()) / "guerdon-demo-report.html"
    parser.add_argument(
        "--report", type=Path, default=default, metavar="OUT", help="HTML report (default: %(default)s)"
    )
    serve = (sys.executable, "-m", "guerdon", "serve", "--port", "0", "--grpc-port", "0")
    parser.set_defaults(run=lambda args: run_demo(serve, args.report))


def run_demo(serve: Sequence[str], report: Path | None) -> int:
    """Exit status of the demo.

    Args:
        serve: command that starts a service on free ports.
        report: where the evaluation's report goes; None ends the demo after the scores.
    """
    print("starting the service ...", flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="guerdon-demo-") as name:
            folder = Path(name)
            flags = ("--data-folder", f"{folder / 'data'}", "--model-store", f"{folder / 'models'}")
            state = ("--state-url", f"sqlite:///{folder / 'state.db'}")
            with running_service((*serve, *flags, *state), READY_S) as service:
                show_scores(service)
                if report is not None:
                    show_decisions(service, folder, report)
    except GuerdonError as err:
        print(f"guerdon: {err}", *getattr(err, "__notes__", ()), sep="\n", file=sys.stderr)
        return 2
    print("the service is stopped")
    return 0
