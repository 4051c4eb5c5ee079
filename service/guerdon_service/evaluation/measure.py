"""One model's scores to its report."""

from dataclasses import dataclass

import numpy as np

from guerdon_service.core.result import Provenance
from guerdon_service.core.statistics.bootstrap import clustered_bootstrap
from guerdon_service.core.statistics.calibration_error import calibration_error
from guerdon_service.core.statistics.clustered import clustered_rate
from guerdon_service.core.statistics.length_correlation import length_correlation
from guerdon_service.core.statistics.length_match import length_matched_accuracy
from guerdon_service.core.statistics.logistic import logistic
from guerdon_service.core.statistics.ranks import dense_ranks
from guerdon_service.core.statistics.rates import wilson
from guerdon_service.evaluation.correctness import (
    Contests,
    contests,
    correctness,
    decided,
    refused,
    soft_labels,
)
from guerdon_service.evaluation.report import (
    Accuracy,
    CalibrationReport,
    LengthReport,
    ModelReport,
    SliceAccuracy,
    TieReport,
)
from guerdon_service.evaluation.rewardbench import measure_rewardbench
from guerdon_service.evaluation.style import measure_style
from guerdon_service.evaluation.table import Floats, Ints, ItemTable, SliceKey


@dataclass(frozen=True, slots=True)
class Judged:
    """A model's rewards on a table, and what follows from them at once.

    slope: P(a preferred to b) is ``sigmoid(slope * margin)``.
    rewards: float64 [R], NaN where refused.
    correct: float64 [N].
    """

    model: Provenance
    slope: float
    rewards: Floats
    correct: Floats

    def probabilities(self, found: Contests) -> Floats:
        """P(first preferred to second), float64 [M], as served; NaN where refused."""
        return logistic(self.slope * (self.rewards[found.first] - self.rewards[found.second]))


def judge(table: ItemTable, model: Provenance, slope: float, rewards: Floats) -> Judged:
    """Rewards with their correctness."""
    return Judged(model, slope, rewards, correctness(table, rewards))


def measure(table: ItemTable, judged: Judged) -> ModelReport:
    """The report of one model; blocks for seconds on large data.

    Args:
        table: with at least one item that people decided.
    """
    asked = np.flatnonzero(decided(table))
    heuristics = {
        "longer": correctness(table, table.lengths.astype(np.float64)),
        "shorter": correctness(table, -table.lengths.astype(np.float64)),
    }

    def on(rows: Ints) -> Accuracy:
        return _accuracy(table, judged.correct, heuristics["longer"], heuristics["shorter"], rows)

    found = contests(table)
    scored = found.only(~np.isnan(judged.rewards[found.first]))
    return ModelReport(
        model=judged.model,
        num_refused=int(refused(table, judged.rewards).sum()),
        overall=on(asked),
        slices=tuple(
            SliceAccuracy(key.kind, key.name, on(rows))
            for key, all_rows in _largest_first(table)
            if len(rows := np.intersect1d(all_rows, asked, assume_unique=True))
        ),
        calibration=_calibration(table, judged, scored),
        length=_length(
            table, judged, scored, heuristics["longer"][asked], heuristics["shorter"][asked], asked
        ),
        ties=_ties(judged, scored),
        style=measure_style(table, judged.rewards),
        rewardbench=measure_rewardbench(table, judged.rewards, judged.correct),
    )


def _largest_first(table: ItemTable) -> list[tuple[SliceKey, Ints]]:
    """Subsets, then shapes, tags and groups."""
    order = ("subset", "shape", "tag", "group")
    return sorted(table.slices.items(), key=lambda entry: (order.index(entry[0].kind), -len(entry[1])))


def _accuracy(table: ItemTable, correct: Floats, longer: Floats, shorter: Floats, rows: Ints) -> Accuracy:
    values, clusters = correct[rows], table.clusters[rows]
    return Accuracy(
        num_items=len(rows),
        num_clusters=len(np.unique(clusters)),
        accuracy=clustered_rate(values, clusters),
        wilson=wilson(min(float(values.sum()), len(rows)), len(rows)),
        of_prompts=_of_prompts(values, clusters),
        longer=float(longer[rows].mean()),
        shorter=float(shorter[rows].mean()),
    )


def _of_prompts(values: Floats, clusters: Ints) -> float:
    codes = dense_ranks(clusters)
    return float((np.bincount(codes, weights=values) / np.bincount(codes)).mean())


def _calibration(table: ItemTable, judged: Judged, scored: Contests) -> CalibrationReport | None:
    if not len(scored.first):
        return None
    clusters = table.clusters[scored.item]
    error = calibration_error(judged.probabilities(scored), soft_labels(table, scored), clusters)
    return CalibrationReport(len(scored.first), judged.slope, error)


def _length(
    table: ItemTable, judged: Judged, scored: Contests, longer: Floats, shorter: Floats, asked: Ints
) -> LengthReport | None:
    pairs = scored.only(scored.label == 1.0)
    if not len(pairs.first):
        return None
    margins = judged.rewards[pairs.first] - judged.rewards[pairs.second]
    lengths = (table.lengths[pairs.first] - table.lengths[pairs.second]).astype(np.float64)
    name, better = ("longer", longer) if longer.mean() >= shorter.mean() else ("shorter", shorter)
    right = (np.sign(margins) + 1.0) / 2.0
    clusters = table.clusters[pairs.item]
    return LengthReport(
        correlation=length_correlation(margins, lengths),
        matched=length_matched_accuracy(right, lengths, clusters),
        over_heuristic=clustered_bootstrap(
            judged.correct[asked] - better, table.clusters[asked], bounds=(-1.0, 1.0)
        ),
        heuristic=name,
    )


def _ties(judged: Judged, scored: Contests) -> TieReport | None:
    """None where nobody called a tie, or every pair is one."""
    is_tie = scored.label == 0.5
    if not is_tie.any() or is_tie.all():
        return None
    distance = np.abs(judged.probabilities(scored) - 0.5)
    return TieReport(int(is_tie.sum()), float(distance[is_tie].mean()), float(distance[~is_tie].mean()))
