"""Everything that was measured of a reward artifact beyond its manifest, as one JSON file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from guerdon_service.core.statistics.calibration_error import CalibrationError, ReliabilityBin
from guerdon_service.core.statistics.interval import Interval
from guerdon_training.report.reward_quality import RewardQuality, SubsetAccuracy
from guerdon_training.report.robustness import Reaction
from guerdon_training.report.slices import GroupAgreement


@dataclass(frozen=True, slots=True)
class Measured:
    """Of one reward artifact; `groups` is empty where no ratings were given."""

    quality: RewardQuality
    reactions: Sequence[Reaction]
    groups: Sequence[GroupAgreement]


def write_measured(path: Path, measured: Measured) -> None:
    """As JSON."""
    path.write_text(json.dumps(asdict(measured), indent=1) + "\n", "utf-8")


def read_measured(path: Path) -> Measured:
    """What `write_measured` wrote."""
    stored = json.loads(path.read_text("utf-8"))
    quality, error = stored["quality"], stored["quality"]["calibration"]
    bins = (ReliabilityBin(**b | {"accuracy": _interval(b["accuracy"])}) for b in error["bins"])
    ece, brier, nll = (Interval(**error[name]) for name in ("ece", "brier", "nll"))
    calibration = CalibrationError(ece, brier, nll, tuple(bins))
    accuracies = (SubsetAccuracy(**a | {"accuracy": _interval(a["accuracy"])}) for a in quality["accuracies"])
    return Measured(
        RewardQuality(quality["profile"], tuple(accuracies), calibration, quality["length_correlation"]),
        [
            Reaction(**r | {"change": _interval(r["change"]), "overtakes": _interval(r["overtakes"])})
            for r in stored["reactions"]
        ],
        [GroupAgreement(**g | {"agreement": _interval(g["agreement"])}) for g in stored["groups"]],
    )


def _interval(stored: Mapping[str, Any] | None) -> Any:
    return None if stored is None else Interval(**stored)
