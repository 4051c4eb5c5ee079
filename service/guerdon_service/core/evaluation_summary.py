"""The headline figures of an evaluation: what lists, tables and short forms of it show."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Summary:
    """All None before there is a report.

    accuracy: of the candidate, on `num_items`.
    verdict, delta: against the baseline, whose accuracy is taken off.
    """

    accuracy: Figure | None = None
    num_items: int | None = None
    verdict: str | None = None
    delta: Figure | None = None


NOTHING = Summary()


def summarise(report: Mapping[str, Any]) -> Summary:
    """The figures of a report, as plain JSON has it."""
    data, comparison = report.get("data") or {}, report.get("comparison") or {}
    return Summary(
        accuracy=_figure(report.get("accuracy")),
        num_items=data.get("num_items"),
        verdict=comparison.get("verdict"),
        delta=_figure(comparison.get("delta")),
    )


def to_summary(stored: Mapping[str, Any] | None) -> Summary:
    """A summary that was kept as plain JSON; None is one of nothing."""
    if stored is None:
        return NOTHING
    accuracy, delta = _figure(stored["accuracy"]), _figure(stored["delta"])
    return Summary(accuracy, stored["num_items"], stored["verdict"], delta)


def _figure(value: Mapping[str, Any] | None) -> Figure | None:
    return None if value is None else Figure(value["value"], value["low"], value["high"])
