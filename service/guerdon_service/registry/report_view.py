"""What the gate reads of an evaluation's report: the one place that knows the report's keys."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from guerdon_service.core.statistics.interval import Interval


@dataclass(frozen=True, slots=True)
class Outcome:
    """Candidate against baseline, on everything or on one slice."""

    verdict: str
    delta: Interval
    num_items: int
    num_prompts: int
    minimum_detectable_effect: float


@dataclass(frozen=True, slots=True)
class SliceRate:
    """Accuracy of the candidate on one slice, a prompt counting once; `name` is that within its kind, e.g.
    ``subset``.
    """

    kind: str
    name: str
    num_items: int
    num_prompts: int
    accuracy: float


@dataclass(frozen=True, slots=True)
class ReportView:
    """Figures of a report; None where the evaluation has none.

    num_refused, num_refused_baseline: of its `num_items` items, those that got no score.
    whole, by_slice: the comparison with the baseline.
    ece: of the candidate's served probabilities.
    over_lengths: accuracy less that of always preferring the longer, or the shorter, response.
    length_rise: how much more the candidate's rewards follow length than the baseline's.
    """

    num_items: int
    num_refused: int
    num_refused_baseline: int | None
    whole: Outcome | None
    by_slice: Mapping[str, Outcome]
    slices: tuple[SliceRate, ...]
    ece: Interval | None
    over_lengths: Interval | None
    length_rise: Interval | None


def view(report: Mapping[str, Any]) -> ReportView:
    """The view of a report as `guerdon_service.evaluation` stores it."""
    comparison = report.get("comparison")
    candidate, baseline = report.get("candidate") or {}, report.get("baseline") or {}
    calibration, length = candidate.get("calibration"), candidate.get("length")
    return ReportView(
        num_items=report["data"]["num_items"],
        num_refused=candidate["num_refused"],
        num_refused_baseline=baseline.get("num_refused"),
        whole=compared(report),
        by_slice={key: _outcome(part) for key, part in (comparison or {}).get("slices", {}).items()},
        slices=tuple(_slice(part) for part in candidate.get("slices", ())),
        ece=_interval(calibration["error"]["ece"]) if calibration else None,
        over_lengths=_interval(length["over_heuristic"]) if length else None,
        length_rise=_length_rise(report),
    )


def compared(report: Mapping[str, Any]) -> Outcome | None:
    """Candidate against baseline on everything; None where there was no baseline."""
    comparison = report.get("comparison")
    return _outcome(comparison) if comparison else None


def _outcome(part: Mapping[str, Any]) -> Outcome:
    return Outcome(
        part["verdict"],
        _interval(part["delta"]),
        part["num_items"],
        part["num_clusters"],
        part["minimum_detectable_effect"],
    )


def _length_rise(report: Mapping[str, Any]) -> Interval | None:
    if "length_rise" in report:
        found = report["length_rise"]
        return _interval(found) if found else None
    ours, theirs = ((report.get(side) or {}).get("length") for side in ("candidate", "baseline"))
    if not (ours and theirs):
        return None
    rise = abs(ours["correlation"]) - abs(theirs["correlation"])
    return Interval(rise, rise, rise)  # reports before 2026-11-27 lack the interval


def _slice(part: Mapping[str, Any]) -> SliceRate:
    found = part["found"]
    num_items, num_prompts = found["num_items"], found["num_clusters"]
    accuracy = found.get("of_prompts", found["accuracy"]["value"])  # reports before 2026-11-27 lack it
    return SliceRate(part["kind"], part["name"], num_items, num_prompts, accuracy)


def _interval(value: Mapping[str, float]) -> Interval:
    return Interval(value["value"], value["low"], value["high"])
