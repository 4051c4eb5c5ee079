"""Fenced code blocks of the pages, and of the README."""

import re
from dataclasses import dataclass
from pathlib import Path

from tests.docs.module_list import ROOT

DOCS = ROOT / "docs"
RUNNABLE = ("python", "bash", "console")
_BLOCK = re.compile(r"^( *)```([\w-]*)[^\n]*\n(.*?)^\1```\s*$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block; `line` is where its text begins."""

    page: str
    line: int
    language: str
    text: str

    @property
    def script(self) -> str:
        """What a reader types: of a console its lines after ``$ ``."""
        if self.language != "console":
            return self.text
        typed = [line[2:] for line in self.text.splitlines() if line.startswith("$ ")]
        return "\n".join(typed) + "\n"


def blocks_of(path: Path) -> list[Block]:
    """Every fenced block of a page, in order."""
    text = path.read_text("utf-8")
    page = str(path.relative_to(DOCS if path.is_relative_to(DOCS) else ROOT))
    return [
        Block(page, text[: found.start()].count("\n") + 2, found[2], found[3])
        for found in _BLOCK.finditer(text)
    ]


def all_blocks() -> list[Block]:
    """Of every page, the README last."""
    paths = [*sorted(DOCS.rglob("*.md")), ROOT / "README.md"]
    return [block for path in paths for block in blocks_of(path)]
