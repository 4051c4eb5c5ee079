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
        f"{path.relative_to(ROOT)}:{line}"
        for folder in ("client", "service", "training")
        for path in (ROOT / folder).rglob("*.py")
        for line in _left_alone(path.read_text("utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("code", "asks"),
    [
        ("tqdm(rows, disable=None)", True),
        ("tqdm(rows, disable=None if is_main else True)", True),
        ("title, quiet = 'fit', None if is_main else True\ntqdm(rows, title, disable=quiet)", True),
        ("tqdm(rows)", False),
        ("tqdm(rows, None)", False),
        ("tqdm(rows, disable=False)", False),
        ("tqdm(rows, disable=not is_main)", False),
        ("tqdm(rows, disable=False if is_main else True)", False),
        ("tqdm(rows, disable=None if is_main else False)", False),
        ("tqdm(rows, disable=quiet)", False),
        ("quiet = not is_main\ntqdm(rows, disable=quiet)", False),
        ("quiet = None if is_main else True\nquiet = False\ntqdm(rows, disable=quiet)", False),
        ("quiet = None if is_main else True\ntqdm(rows, disable=loud)", False),
    ],
)
def test_a_bar_that_does_not_ask_is_found(code: str, asks: bool) -> None:
    assert bool(_left_alone(code)) is not asks


def _left_alone(code: str) -> list[int]:
    """Lines of the bars that do not ask, neither themselves nor by a `quiet` that is only set so."""
    nodes = list(ast.walk(ast.parse(code)))
    quiet = [v for node in nodes if isinstance(node, ast.Assign) for v in _values(node, "quiet")]
    asking = {"quiet"} if quiet and all(map(_asks, quiet)) else set()
    return [
        call.lineno
        for call in nodes
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "tqdm"
        for given in [next((k.value for k in call.keywords if k.arg == "disable"), ast.Constant(False))]
        if not (_asks(given) or (isinstance(given, ast.Name) and given.id in asking))
    ]


def _values(assigned: ast.Assign, name: str) -> list[ast.expr]:
    """What `name` gets of one assignment, by itself or in a tuple."""
    target, value = assigned.targets[0], assigned.value
    pairs = (
        zip(target.elts, value.elts, strict=False)
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
        else [(target, value)]
    )
    return [v for t, v in pairs if isinstance(t, ast.Name) and t.id == name]


def _asks(given: ast.expr) -> bool:
    """`None`, or `None if ... else True`."""
    either = (given.body, given.orelse) if isinstance(given, ast.IfExp) else (given,)
    values = [v.value if isinstance(v, ast.Constant) else False for v in either]
    return None in values and all(v in (None, True) for v in values)
