"""The page about the details names modules and tests that exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "ppo-details.md").read_text("utf-8").splitlines()
    if re.match(r"\| \d", line)
]


def test_all_of_them_are_there() -> None:
    assert [row[0] for row in ROWS] == [str(number) for number in range(1, 18)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_detail_has_its_modules_and_its_tests(row: list[str]) -> None:
    modules, tests = (re.findall(r"`([^`]+)`", cell) for cell in row[2:])
    assert modules and tests
    for module in modules:
        assert (ROOT / "training" / "guerdon_training" / module).is_file(), module
    for test in tests:
        file, _, name = test.partition("::")
        tree = ast.parse((ROOT / "tests" / file).read_text("utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, test
