"""The documentation site builds offline, and what it builds asks nobody else for anything."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.module_list import ROOT

CONFIG = ROOT / "docs" / "site" / "mkdocs.yml"
NOWHERE = "http://127.0.0.1:9"
"""A proxy that is not there: whoever asks the network fails at once."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = (
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--config-file",
        CONFIG,
        "--site-dir",
        folder,
    )
    environ = os.environ | {"http_proxy": NOWHERE, "https_proxy": NOWHERE, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, check=False, env=environ, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_built_and_has_its_place_in_the_navigation(site: Path) -> None:
    named = set(re.findall(r"[\w/-]+\.md", CONFIG.read_text("utf-8")))
    pages = {str(p.relative_to(ROOT / "docs")) for p in (ROOT / "docs").rglob("*.md")}
    assert named == pages
    for page in pages - {"index.md"}:
        assert (site / page.removesuffix(".md") / "index.html").is_file()


def test_what_is_built_loads_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text("utf-8")
        loaded = re.findall(r'<(?:script|img|iframe)[^>]*\ssrc="([^"]*)"', text)
        loaded += re.findall(r'<link[^>]*\shref="([^"]*)"', text)
        assert loaded
        assert [url for url in loaded if url.startswith(("http:", "https:", "//"))] == [], page.name
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*['\"]?(https?:)?//", sheet.read_text("utf-8")), sheet.name


def test_the_reference_comes_from_the_code(site: Path) -> None:
    text = re.sub(r"<[^>]+>", "", (site / "api" / "index.html").read_text("utf-8"))
    assert "Point alias (champion) at a version, if the gate allows it" in text
    assert "service RewardService" in text


def test_the_navigation_names_each_task() -> None:
    named = yaml.load(CONFIG.read_text("utf-8"), _Loader)["nav"]
    titles = [title for entry in named if isinstance(entry, dict) for title in entry]
    asked = ["Quick start", "Score from any client", "Bring your model", "Train", "Evaluate and promote"]
    asked += ["Best-of-n", "Deploy", "Operate", "Security", "Performance", "API reference"]
    assert [title for title in titles if title in asked] == asked


class _Loader(yaml.SafeLoader):
    """Takes MkDocs' own tags as what they are applied to."""


def _value(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> Any:
    return node.value


_Loader.add_multi_constructor("!", _value)
