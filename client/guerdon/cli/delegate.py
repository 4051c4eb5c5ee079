"""Commands whose code lives in the service or in training, imported only when asked for."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from guerdon.errors import GuerdonError


@dataclass(frozen=True, slots=True)
class Command:
    """``module.function(argv) -> exit status``, and the extra that brings what it imports."""

    name: str
    module: str
    function: str
    extra: str
    help: str


COMMANDS = {
    command.name: command
    for command in (
        Command("serve", "guerdon_service.app.serve", "serve_command", "serve", "serve models"),
        Command("evaluate", "guerdon_service.app.evaluate", "evaluate_command", "serve", "measure a model"),
        Command(
            "migrate", "guerdon_service.app.migrate", "migrate_command", "serve", "update the state's tables"
        ),
        Command(
            "export",
            "guerdon_service.app.export",
            "export_command",
            "serve,export",
            "write graphs and int8 ranges",
        ),
        Command(
            "calibrate",
            "guerdon_service.app.calibrate",
            "calibrate_command",
            "serve",
            "fit a model's probabilities on held-out pairs",
        ),
        Command("bench", "guerdon_service.app.bench", "bench_command", "serve,bench", "measure the service"),
        Command(
            "capacity",
            "guerdon_service.app.capacity",
            "capacity_command",
            "serve",
            "how many replicas suffice",
        ),
        Command(
            "data agreement",
            "guerdon_service.app.feedback_agreement",
            "feedback_agreement_command",
            "serve",
            "agreement of stored feedback",
        ),
        Command(
            "data export",
            "guerdon_service.app.export_feedback",
            "export_feedback_command",
            "serve",
            "feedback and best-of-n as training data",
        ),
        Command(
            "data suggest",
            "guerdon_service.app.suggest_labels",
            "suggest_labels_command",
            "serve",
            "which pairs to label next",
        ),
        Command(
            "data",
            "guerdon_training.audit.cli",
            "data_command",
            "train",
            "audit, convert, split and export data",
        ),
        Command(
            "train", "guerdon_training.cli", "train_command", "train", "train reward models and policies"
        ),
    )
}

ENGINES = Command("score", "guerdon_service.app.bulk", "bulk_command", "serve,bulk", "score in process")
"""``guerdon score`` where ``--engine`` is given; without it, the client's command asks a service."""


def find_command(arguments: Sequence[str]) -> tuple[Command, list[str]] | None:
    """The delegated command that the arguments ask for, and those that are its own; None: there is none."""
    if arguments[:1] == ["evaluate"] and _gives(arguments, "--url"):
        return None  # the client's command asks a service
    for words in (2, 1):  # "data export" is another package's than "data"
        command = COMMANDS.get(" ".join(arguments[:words]))
        if command is not None:
            return command, list(arguments[words:])
    if arguments[:1] == ["score"] and _gives(arguments, "--engine"):
        return ENGINES, list(arguments[1:])
    return None


def _gives(arguments: Sequence[str], flag: str) -> bool:
    return any(argument.partition("=")[0] == flag for argument in arguments)


def delegate(command: Command, argv: Sequence[str]) -> int:
    """Exit status of the command.

    Raises:
        GuerdonError: a package is missing, or the command refused its input.
    """
    try:
        run = getattr(import_module(command.module), command.function)
    except ModuleNotFoundError as err:
        if err.name is None or (err.name.startswith("guerdon") and "." in err.name):
            raise  # part of ours: a broken installation, not a missing extra
        raise GuerdonError(
            f"guerdon {command.name} needs the package {err.name}; install it with "
            f"pip install 'guerdon[{command.extra}]'"
        ) from None
    refused: type[Exception] = import_module("guerdon_service.core.errors").GuerdonError
    try:
        status: int = run(list(argv))
    except refused as err:
        print(f"guerdon: {err}", file=sys.stderr)
        return 2
    return status
