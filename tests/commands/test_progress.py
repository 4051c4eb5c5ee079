"""A bar on the terminal of whatever can take longer than two seconds; none where nobody looks."""

import ast
import io
import sys
from pathlib import Path
from typing import Any

import pytest
from tqdm import tqdm

from guerdon.cli.main import main
from guerdon_training.convert import source_row
from tests.commands.cases import Given
from tests.docs.module_list import ROOT
from tests.threads import one_thread

__all__ = ["one_thread"]

BARS = {
    "convert": "read pairs.jsonl",
    "audit": "audit",
    "evaluate": "bert",
    "rewardbench": "rewardbench",
    "export_feedback": "export",
    "score": "score",
    "export": "export",
    "calibrate": "calibrate",
    "train": "epoch 1/1",
}
"""Commands by the word that their bar begins with."""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("name", BARS)
@pytest.mark.usefixtures("ready_graph")
def test_a_terminal_sees_a_bar(
    given: Given, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at_once(*args: Any, **more: Any) -> Any:  # these few rows are read in less than its delay
        return tqdm(*args, **more | {"delay": 0})

    monkeypatch.setattr(source_row, "tqdm", at_once)
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    assert main(getattr(given, name)(tmp_path)) in (0, 1)
    assert any(f"{BARS[name]}: " in line and "/" in line for line in terminal.getvalue().split("\r"))


@pytest.mark.parametrize("name", ["audit", "rewardbench", "export_feedback", "score", "train"])
def test_a_pipe_sees_none(
    given: Given, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(getattr(given, name)(tmp_path)) in (0, 1)
    assert "\r" not in capsys.readouterr().err


def test_no_bar_is_left_to_show_itself_in_a_pipe() -> None:
    """`disable=None` asks standard error; left out, or with a condition alone, a log fills with bars."""
    found = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for folder in ("client", "service", "training")
        for path in (ROOT / folder).rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "tqdm" and not _asks(call)
    ]
    assert found == []


def _asks(call: ast.Call) -> bool:
    given = [keyword.value for keyword in call.keywords if keyword.arg == "disable"]
    return bool(given) and not isinstance(given[0], ast.UnaryOp)
