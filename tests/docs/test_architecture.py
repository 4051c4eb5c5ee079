import re

import pytest

from tests.docs.module_list import PACKAGES, PAGE, ROOT, with_module_list

MODULES = [p for package in PACKAGES for p in (ROOT / package).rglob("*.py")]


def test_the_module_list_is_current() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_module_list(page) == page, "run make docs"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_module_is_over_400_lines(path: object) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400  # type: ignore[attr-defined]


def test_every_link_between_the_pages_leads_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
