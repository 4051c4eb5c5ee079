"""docs/evaluation.md shows the gate's bounds as they are."""

import re
import tomllib
from dataclasses import asdict

from guerdon_service.registry.policy import GatePolicy
from tests.docs.module_list import ROOT


def test_the_page_has_every_bound_of_the_gate_with_its_default() -> None:
    page = (ROOT / "docs/evaluation.md").read_text("utf-8")
    (shown,) = re.findall(r"```toml\n(\[gate\]\n.*?)```", page, re.DOTALL)
    assert tomllib.loads(shown)["gate"] == asdict(GatePolicy())
