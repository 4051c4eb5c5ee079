"""Each alert leads to a page that says what to do, and its query names metrics and labels that exist."""

import re
import shlex

import pytest
import yaml

from guerdon.cli.main import build_parser
from guerdon_service.app.metrics import PrometheusObserver
from tests.docs.module_list import ROOT

RULES = yaml.safe_load((ROOT / "helm/guerdon/alerts.yaml").read_text("utf-8"))["groups"][0]["rules"]
PAGE = (ROOT / "docs/runbook.md").read_text("utf-8")
ANCHORS = {
    re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")
    for heading in re.findall(r"^## (.+)$", PAGE, re.M)
}
STEPS = ("What it means", "Look at", "Do")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_alert_has_its_section(rule: dict[str, dict[str, str]]) -> None:
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert page == "docs/runbook.md"
    assert anchor in ANCHORS
    section = re.split(r"^## ", PAGE, flags=re.M)
    (text,) = [part for part in section if part.splitlines()[0].lower() == anchor]
    for step in STEPS:
        assert f"**{step}.**" in text


def test_no_section_is_of_an_alert_that_is_gone() -> None:
    alerts = {rule["alert"].lower() for rule in RULES}
    assert {anchor for anchor in ANCHORS if anchor.startswith("guerdon")} == alerts


def test_every_metric_that_the_page_names_is_exported() -> None:
    exported = PrometheusObserver().render().decode()
    known = {line.split()[2] for line in exported.splitlines() if line.startswith("# TYPE")}
    named = set(re.findall(r"\b(?:guerdon|process)_[a-z_]+\b", PAGE))
    assert len(named) > 10
    assert {name.removesuffix("_bucket").removesuffix("_sum") for name in named} <= known | {
        name.removesuffix("_total") for name in known
    }


def test_every_command_of_the_page_can_be_given_as_it_stands() -> None:
    """Flags and verbs that are left out end the parser; `guerdon models` alone was one."""
    commands = re.findall(r"`guerdon ([^`]*)`", PAGE)
    assert len(commands) >= 3
    for command in commands:
        build_parser().parse_args(shlex.split(command))
