"""docs/security.md names tests that exist, and an answer for every advisory that is known."""

import ast
import re

import pytest

from tests.docs.module_list import ROOT

PAGE = (ROOT / "docs/security.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)))
ADVISORIES = (
    *("CVE-2026-22807", "CVE-2025-25183", "CVE-2024-50050", "CVE-2025-23310", "CVE-2025-23311"),
    *("CVE-2025-23319", "CVE-2025-23320", "CVE-2025-23334", "CVE-2025-33201", "CVE-2023-43654"),
    *("CVE-2023-48022", "CVE-2026-33626"),
)


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_every_test_that_it_names_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    tests = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert not name or name in tests


def rows(heading: str) -> list[list[str]]:
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


@pytest.mark.parametrize("heading", ["Threats", "Advisories of others, replayed"])
def test_every_row_names_a_test(heading: str) -> None:
    assert len(rows(heading)) >= 9
    for row in rows(heading):
        assert re.search(r"`tests/[\w/]+\.py", row[-1]), row[0]


def test_every_known_advisory_has_a_row() -> None:
    told = " ".join(row[1] for row in rows("Advisories of others, replayed"))
    assert set(re.findall(r"CVE-\d+-\d+", told)) == set(ADVISORIES)
