"""`--json` on every command: one document on standard output, and nothing else there."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from guerdon.cli.delegate import COMMANDS
from guerdon.cli.main import build_parser, main
from guerdon_training.audit import cli as data_cli
from tests.commands.cases import Given
from tests.threads import one_thread

__all__ = ["one_thread"]

WITHOUT = {
    "serve": "answers on its ports; its log lines are JSON (--log-json)",
    "demo": "a story for people; each of its steps is a command or a route with JSON of its own",
}
"""Commands without the flag, each with its reason."""


def leaves(parser: argparse.ArgumentParser, words: str = "") -> Iterator[str]:
    """Every command of a parser, by its words."""
    below = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not below:
        yield words
    for action in below:
        for name, child in action.choices.items():
            yield from leaves(child, f"{words} {name}".strip())


EVERY = sorted({*leaves(build_parser()), *COMMANDS, *leaves(data_cli._parser(), "data")} - {"data"})


@pytest.mark.parametrize("words", [*EVERY, "score --engine local"])
def test_every_command_has_it_or_a_reason(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words.split(), "--help"])
    assert ended.value.code == 0
    assert ("--json" in capsys.readouterr().out) == (words not in WITHOUT), WITHOUT.get(words)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("convert", "num_records"),
        ("audit", "verdict"),
        ("split", "num_records"),
        ("evaluate", "report"),
        ("rewardbench", "num_left_out"),
        ("export_feedback", "num_records"),
        ("suggest", "information_nats"),
        ("score", "num_records"),
        ("bench", "figures"),
        ("export", "graphs"),
        ("calibrate", "digest"),
        ("train", "folder"),
    ],
)
@pytest.mark.usefixtures("ready_graph")
def test_it_prints_one_document(
    given: Given, name: str, key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*getattr(given, name)(tmp_path), "--json"]) == (1 if name == "audit" else 0)
    assert key in json.loads(capsys.readouterr().out)


def test_migrations_tell_whether_there_was_anything_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for url, migrated in (("", False), (f"sqlite:///{tmp_path / 'state.db'}", True)):
        assert main(["migrate", "--state-url", url, "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"migrated": migrated}
