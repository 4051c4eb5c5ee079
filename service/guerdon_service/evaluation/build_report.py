"""From kept scores and the data to the report. Nothing here asks a model anything."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.evaluation import ItemScores
from guerdon_service.core.result import Provenance
from guerdon_service.evaluation.ceiling import measure_ceiling
from guerdon_service.evaluation.compare import compare, compare_lengths, compare_losses
from guerdon_service.evaluation.correctness import decided
from guerdon_service.evaluation.disagreements import worst_disagreements
from guerdon_service.evaluation.measure import Judged, judge, measure
from guerdon_service.evaluation.read import read_items
from guerdon_service.evaluation.report import DataReport, Report, RobustnessRow
from guerdon_service.evaluation.table import ItemTable, build_table


@dataclass(frozen=True, slots=True)
class Data:
    """Files that are evaluated on, and the SHA-256 (hex) of their bytes."""

    files: tuple[Path, ...]
    sha256: str


@dataclass(frozen=True, slots=True)
class Contender:
    """One model's scores: `scores` gives all of them by item, and what it gives is let go after use.

    slope: P(a preferred to b) is ``sigmoid(slope * margin)``.
    """

    model: Provenance
    slope: float
    scores: Callable[[], dict[str, ItemScores]]
    robustness: tuple[RobustnessRow, ...] = ()


def build_report(data: Data, candidate: Contender, baseline: Contender | None, margin: float) -> Report:
    """Read the data once more, measure both models, compare them. Blocks for seconds on large data.

    Raises:
        InvalidInput: people decided nothing in the data, no item was scored, or scores do not fit the data.
    """
    table = build_table(read_items(data.files))
    if not decided(table).any():
        raise InvalidInput("data holds only ties; give items of which a response was preferred", param="data")
    ours = _judge(table, candidate)
    theirs = _judge(table, baseline) if baseline else None
    report = replace(measure(table, ours), robustness=candidate.robustness)
    other = replace(measure(table, theirs), robustness=baseline.robustness) if baseline and theirs else None
    return Report(
        accuracy=report.overall.accuracy,
        comparison=compare(table, ours, theirs, margin) if theirs else None,
        nll_difference=compare_losses(table, ours, theirs) if theirs else None,
        length_rise=compare_lengths(table, ours, theirs) if theirs else None,
        data=_describe(table, data),
        candidate=report,
        baseline=other,
        ceiling=measure_ceiling(table, ours.correct),
        disagreements=worst_disagreements(table, ours, read_items(data.files)),
        guerdon_version=version("guerdon"),
    )


def _judge(table: ItemTable, contender: Contender) -> Judged:
    rewards = table.rewards(contender.scores().get)
    if np.isnan(rewards).all():
        raise InvalidInput(
            f"model {contender.model.name} refused every item; the service's log says why", param="data"
        )
    return judge(table, contender.model, contender.slope, rewards)


def _describe(table: ItemTable, data: Data) -> DataReport:
    is_matrix = table.styles[table.offsets[:-1]] >= 0
    return DataReport(
        files=_names(data.files),
        sha256=data.sha256,
        num_items=table.num_items,
        num_responses=len(table.grades),
        num_clusters=len(np.unique(table.clusters)),
        num_ties=int((~decided(table)).sum()),
        num_best_of=int(((table.sizes > 2) & ~is_matrix).sum()),
        num_matrices=int(is_matrix.sum()),
    )


def _names(files: Sequence[Path]) -> tuple[str, ...]:
    """Names without their folders, which say nothing to whoever reads the report elsewhere."""
    return tuple(f.name for f in files)
