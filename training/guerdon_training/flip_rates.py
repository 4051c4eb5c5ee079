"""Flip rates by source from a data audit's report."""

import json
import re
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import Any

from guerdon_service.core.errors import InvalidInput

_CHECK, _FINDING = "noise_ceiling", "flip rate, even noise"
_KIND_OF_ROWS = re.compile(r" \((pairs|pair votes)\)$")
CHANCE = 0.5
"""Flip rate of a label for one of two sides that says nothing."""
MIN_ITEMS = 20
"""With fewer a source's annotators may well disagree on each by accident."""


def read_flip_rates(path: Path, trained: Set[str], say: Callable[[str], object]) -> dict[str, float]:
    """Flip rate of one label of each source that several annotators judged; `CHANCE` where they surely agree
    by chance.

    A source with several groups of judgements (pairs, votes, annotations) takes that of most items.

    Args:
        path: what ``guerdon data audit FILES --json`` wrote.
        trained: sources of what trains, by the audit's names (`targets.audited_source`).
        say: is told, a line for each, of the sources that are left out: their rate is not below `CHANCE`, and
            yet no sure sign of it, with too few items, a wide interval or more than two labels.

    Raises:
        InvalidInput: no such file, no such report, or no flip rate in it of what trains.
    """
    found: dict[str, dict[str, Any]] = {}
    for finding in _findings(path):
        source = _KIND_OF_ROWS.sub("", finding["group"])
        found[source] = max(found.get(source, finding), finding, key=lambda f: (f["num"] or 0, f["value"]))
    if not found:
        raise InvalidInput(
            f"{path} has no flip rate: no item of its files has two judgements; leave objective.flip_rates "
            "out and set optim.flip_rate",
            param="objective.flip_rates",
        )
    if not trained & found.keys():
        raise InvalidInput(
            f"config objective.flip_rates has flip rates of {', '.join(sorted(found))}, and of nothing "
            f"that trains, which is {', '.join(sorted(trained))}; audit these, or leave it out and set "
            "optim.flip_rate",
            param="objective.flip_rates",
        )
    rates = {}
    for source, finding in found.items():
        if finding["value"] < CHANCE or _is_surely_chance(finding):
            rates[source] = finding["value"]
        else:
            say(
                f"{path}: {finding['num']} items give source {source} a flip rate of {finding['value']:.2f}, "
                "which says nothing sure of its labels; they take optim.flip_rate"
            )
    return rates


def _is_surely_chance(finding: Mapping[str, Any]) -> bool:
    """Whether even the interval's better end is chance; a rate above it is of more than two labels."""
    at_best = (finding.get("interval") or {"low": 0.0})["low"]
    return finding["value"] == CHANCE <= at_best and (finding["num"] or 0) >= MIN_ITEMS


def _findings(path: Path) -> list[dict[str, Any]]:
    try:
        checks = json.loads(path.read_text("utf-8"))["checks"]
        return [
            finding
            for check in checks
            if check["name"] == _CHECK
            for finding in check["findings"]
            if finding["name"] == _FINDING
        ]
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise InvalidInput(
            f"{path} is not an audit's report ({type(err).__name__}: {err}); write one with "
            "guerdon data audit FILES --json REPORT.json",
            param="objective.flip_rates",
        ) from None
