"""The command itself: help, version, delegation."""

import re
import sys
import types
from importlib.metadata import version
from pathlib import Path

import pytest

from guerdon.cli.delegate import COMMANDS, Command, delegate
from guerdon.cli.main import main
from guerdon.cli.table import format_table
from guerdon.errors import GuerdonError
from guerdon_service.core.errors import InvalidInput


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert (stopped.value.code, capsys.readouterr().out) == (0, f"guerdon {version('guerdon')}\n")


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    told = capsys.readouterr().out
    for name in (
        "score",
        "compare",
        "rank",
        "best-of-n",
        "evaluations",
        "models",
        "rewardbench",
        "demo",
        *COMMANDS,
    ):
        assert re.search(rf"^    {name}\s", told, re.MULTILINE) or " " in name
    assert "audit, convert, split and export data" in told


def test_help_of_data_lists_the_verbs_that_the_service_brings(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["data", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert [name for name in COMMANDS if name.startswith("data ") and f"`guerdon {name}`" not in told] == []


@pytest.mark.parametrize("argv", [[], ["unknown"], ["score"], ["score", "f", "--lane", "fast"]])
def test_wrong_usage_is_status_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    assert stopped.value.code == 2
    assert "usage: guerdon" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_a_delegated_command_gets_its_arguments_untouched(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[str] = []

    def run(argv: list[str]) -> int:
        got.extend(argv)
        return 7

    command = COMMANDS[name]
    module = types.ModuleType(command.module)
    setattr(module, command.function, run)
    monkeypatch.setitem(sys.modules, command.module, module)
    assert main([*name.split(), "--help", "-x", "y"]) == 7
    assert got == ["--help", "-x", "y"]


def test_a_missing_extra_is_named_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needy.py").write_text("import surely_not_installed\n")
    monkeypatch.syspath_prepend(tmp_path)
    command = Command("serve", "needy", "run", "serve", "")
    with pytest.raises(GuerdonError) as raised:
        delegate(command, [])
    assert str(raised.value) == (
        "guerdon serve needs the package surely_not_installed; install it with pip install 'guerdon[serve]'"
    )


def test_an_error_of_the_service_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(argv: list[str]) -> int:
        raise InvalidInput("port is 99999; use 0 to 65535", param="port")

    command = COMMANDS["serve"]
    module = types.ModuleType(command.module)
    setattr(module, command.function, refuse)
    monkeypatch.setitem(sys.modules, command.module, module)
    assert main(["serve"]) == 2
    assert capsys.readouterr().err == "guerdon: port is 99999; use 0 to 65535\n"


def test_table_columns_are_aligned() -> None:
    rows = [("name", "n"), ("a", "1.5"), ("long", "-10.25")]
    assert format_table(rows) == "name       n\n----  ------\na        1.5\nlong  -10.25"
