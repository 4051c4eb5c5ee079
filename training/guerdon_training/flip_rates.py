"""Flip rates by source from a data audit's report."""

import json
import re
from pathlib import Path
from typing import Any

from guerdon_service.core.errors import InvalidInput

_CHECK, _FINDING = "noise_ceiling", "flip rate, even noise"
_KIND_OF_ROWS = re.compile(r" \((pairs|pair votes)\)$")


def read_flip_rates(path: Path) -> dict[str, float]:
    """Flip rate of one label of each source that several annotators judged; 0.5 where they agree by chance.

    A source with several groups of judgements (pairs, votes, annotations) takes that of most items.

    Args:
        path: what ``guerdon data audit FILES --json`` wrote.

    Raises:
        InvalidInput: no such file, no such report, or no flip rate in it.
    """
    found: dict[str, tuple[int, float]] = {}
    for finding in _findings(path):
        source = _KIND_OF_ROWS.sub("", finding["group"])
        found[source] = max(found.get(source, (0, 0.0)), (finding["num"] or 0, finding["value"]))
    if not found:
        raise InvalidInput(
            f"{path} has no flip rate: no item of its files has two judgements; leave objective.flip_rates "
            "out and set optim.flip_rate",
            param="objective.flip_rates",
        )
    return {source: rate for source, (_, rate) in found.items()}


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
