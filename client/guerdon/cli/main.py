"""Entry point of the `guerdon` command."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from guerdon.cli import (
    best_of_n,
    compare,
    demo,
    evaluate,
    evaluate_policy,
    evaluations,
    models,
    rank,
    rewardbench,
    score,
)
from guerdon.cli.delegate import COMMANDS, delegate, find_command
from guerdon.errors import GuerdonError, Unauthenticated

MODULES = (
    score,
    compare,
    rank,
    best_of_n,
    evaluate,
    evaluations,
    evaluate_policy,
    models,
    rewardbench,
    demo,
)
EPILOG = """exit status: 0 done; 1 done, and some records became error records; 2 could not run or finish;
130 interrupted. `guerdon COMMAND --help` tells more."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; expected failures are one sentence on stderr."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if (found := find_command(arguments)) is not None:
            return delegate(*found)
        args = build_parser().parse_args(arguments)
        status: int = args.run(args)
    except Unauthenticated as err:
        print(f"guerdon: {err}; a command reads the key from GUERDON_API_KEY", file=sys.stderr)
        return 2
    except GuerdonError as err:
        print(f"guerdon: {err}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "guerdon: interrupted; no file is half-written; run it again to go on",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:
        # The reader of our stdout left; keep the interpreter's last flush from complaining about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    except OSError as err:  # a full disk, most of all
        print(f"guerdon: {err}", file=sys.stderr)
        return 2
    return status


def build_parser() -> argparse.ArgumentParser:
    """All subcommands; the delegated ones are listed, but parse their own arguments."""
    parser = argparse.ArgumentParser(
        prog="guerdon",
        description="Serve reward models, and score, compare and rank with them.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"guerdon {version('guerdon')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in MODULES:
        module.add_parser(commands)
    for name, command in COMMANDS.items():
        if " " in name or name in commands.choices:
            continue  # the help of its first word tells of it, or it asks a service as well
        commands.add_parser(name, help=command.help, add_help=False)
    return parser


if __name__ == "__main__":
    sys.exit(main())
