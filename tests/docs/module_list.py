"""The module list of docs/architecture.md, written from the modules' own first lines (`make docs`)."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- modules: written by make docs -->", "<!-- end of modules -->"
PACKAGES = ("client/guerdon", "service/guerdon_service", "training/guerdon_training")


def module_list() -> str:
    """One heading per folder, one line per module."""
    lines: list[str] = []
    for package in PACKAGES:
        for folder in sorted({p.parent for p in (ROOT / package).rglob("*.py")}):
            modules = sorted(p for p in folder.glob("*.py") if p.name != "__init__.py")
            init = folder / "__init__.py"
            if modules:
                about = _first_line(init) if init.is_file() else ""
                lines += [f"\n**`{folder.relative_to(ROOT)}/`** {about}\n"]
                lines += [f"- `{p.name}` {_first_line(p)}" for p in modules]
    return "\n".join(lines).strip()


def with_module_list(page: str) -> str:
    """The page with its list renewed."""
    block = f"{BEGIN}\n{module_list()}\n{END}"
    return re.sub(re.escape(BEGIN) + ".*" + re.escape(END), lambda _: block, page, flags=re.DOTALL)


def _first_line(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.split("\n", 1)[0]


if __name__ == "__main__":
    PAGE.write_text(with_module_list(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
