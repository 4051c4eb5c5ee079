"""What the short forms of a finished evaluation show: the same figures over every transport."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from guerdon_service.core.evaluation import Evaluation


@dataclass(frozen=True, slots=True)
class Figure:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Summary:
    """accuracy: of the candidate. verdict, delta: against the baseline, whose accuracy is taken off."""

    accuracy: Figure | None
    verdict: str | None
    delta: Figure | None


def summarise(evaluation: Evaluation) -> Summary:
    """The figures of a report; all None before there is one."""
    report = evaluation.report or {}
    comparison = report.get("comparison") or {}
    return Summary(
        _figure(report.get("accuracy")), comparison.get("verdict"), _figure(comparison.get("delta"))
    )


def _figure(value: Mapping[str, Any] | None) -> Figure | None:
    return None if value is None else Figure(value["value"], value["low"], value["high"])
