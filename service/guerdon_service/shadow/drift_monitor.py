"""Drift of every version that answers, by measure."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

from guerdon_service.core.result import CompareResult, RankResult, Score, ScoreResult
from guerdon_service.shadow.drift import DriftFigures, DriftWatch

MEASURES = ("reward", "tokens", "margin")


class DriftObserver(Protocol):
    """Where drift goes."""

    def drift(self, model: str, measure: str, figures: DriftFigures) -> None:
        """A look at one of `MEASURES` of ``NAME@VERSION``."""
        ...


class DriftMonitor:
    """A `DriftWatch` for each model and measure."""

    def __init__(self, observer: DriftObserver) -> None:
        self._observer = observer
        self._watches: dict[tuple[str, str], DriftWatch] = {}

    def observe(self, result: ScoreResult | CompareResult | RankResult) -> None:
        """Take in one answer; a margin is that of a comparison, or of the best two of a ranking."""
        model = f"{result.model.name}@{result.model.version}"
        scores, margins = _scores(result)
        self._take(model, "reward", [s.reward for s in scores])
        self._take(model, "tokens", [float(s.tokens) for s in scores])
        if margins:
            self._take(model, "margin", margins)

    def _take(self, model: str, measure: str, values: Sequence[float]) -> None:
        watch = self._watches.get((model, measure))
        if watch is None:
            watch = self._watches[model, measure] = DriftWatch()
        figures = watch.observe(values)
        if figures is not None:
            self._observer.drift(model, measure, figures)


def _scores(result: ScoreResult | CompareResult | RankResult) -> tuple[Sequence[Score], list[float]]:
    if isinstance(result, ScoreResult):
        return result.scores, []
    if isinstance(result, CompareResult):
        sides = [side for p in result.preferences for side in (p.a, p.b)]
        return sides, [abs(p.margin) for p in result.preferences]
    scores = [r.score for r in result.results]
    return scores, [a.reward - b.reward for a, b in pairwise(scores[:2])]
