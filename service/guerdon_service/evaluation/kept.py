"""A finished evaluation as one JSON file: the report and every item's scores, to be compared with later."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.evaluation import ItemScores
from guerdon_service.core.result import Provenance
from guerdon_service.core.statistics.interval import Interval
from guerdon_service.evaluation.build_report import Contender, Data
from guerdon_service.evaluation.figures import Plain
from guerdon_service.evaluation.report import RobustnessRow

FORMAT = "guerdon-evaluation-1"


def kept_json(report: Plain, candidate: Contender, baseline: Contender | None) -> dict[str, Any]:
    """``{format, report, scores: {candidate: {ID: [reward, ...] or null}, baseline?}}``."""
    sides = {"candidate": candidate, "baseline": baseline}
    scores = {
        side: {item_id: s.rewards for item_id, s in found.scores().items()}
        for side, found in sides.items()
        if found is not None
    }
    return {"format": FORMAT, "report": report, "scores": scores}


def read_kept(path: Path, data: Data) -> Contender:
    """The candidate of a file that `kept_json` filled.

    Raises:
        InvalidInput: the file is something else, or its scores are of other data.
    """
    try:
        kept: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        report, scores = kept["report"], kept["scores"]["candidate"]
        model, calibration = Provenance(**report["candidate"]["model"]), report["candidate"]["calibration"]
        sha256, rows = report["data"]["sha256"], report["candidate"]["robustness"]
        robustness = tuple(_robustness_row(**row) for row in rows)
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise InvalidInput(
            f"{path} is no kept evaluation ({type(err).__name__}: {err}); give what --json wrote",
            param="--against",
        ) from None
    if sha256 != data.sha256:
        raise InvalidInput(
            f"{path} holds scores of other data (SHA-256 {sha256[:12]}, not {data.sha256[:12]}); evaluate "
            "that model on this data",
            param="--against",
        )
    items = {k: ItemScores(k, None if v is None else tuple(v)) for k, v in scores.items()}
    slope = calibration["slope"] if calibration else 1.0
    return Contender(model, slope, lambda: items, robustness)


def _robustness_row(shift: Plain, flips: Plain, **rest: Any) -> RobustnessRow:
    return RobustnessRow(shift=Interval(**shift), flips=Interval(**flips), **rest)
