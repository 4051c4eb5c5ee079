"""Accuracy of a reward on preference pairs, beside the length baselines it must beat."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guerdon_service.core.statistics.bootstrap import clustered_bootstrap
from guerdon_service.core.statistics.clustered import clustered_rate
from guerdon_service.core.statistics.interval import Interval
from guerdon_service.core.statistics.length_correlation import length_correlation
from guerdon_service.core.statistics.length_match import longer_wins
from guerdon_service.core.statistics.rates import wilson
from guerdon_training.data import PreferencePair

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Judged:
    """A pair and the raw scores of its two responses; None where the service would refuse one."""

    pair: PreferencePair
    scores: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How often the preferred response scores higher. A tie, or a refused pair, counts one half.

    accuracy: with a Wilson interval (pairs as independent).
    clustered: the same with an interval that takes prompts as the independent observations.
    longer, shorter: accuracy of preferring the longer or the shorter response, in characters.
    over_baseline: accuracy less the better of the two, paired, bootstrap over prompts.
    length_correlation: Spearman, between score differences and length differences.
    """

    num_pairs: int
    num_prompts: int
    num_refused: int
    accuracy: Interval
    clustered: Interval
    longer: Interval
    shorter: Interval
    over_baseline: Interval
    length_correlation: float


def measure(judged: Sequence[Judged]) -> Accuracy:
    """Accuracy on `judged` (at least one), with baselines and intervals."""
    clusters = [j.pair.cluster for j in judged]
    correct = _wins([0.0 if j.scores is None else j.scores[0] - j.scores[1] for j in judged])
    longer = longer_wins([len(j.pair.chosen) - len(j.pair.rejected) for j in judged])
    n = len(judged)
    shorter = 1.0 - longer
    better = longer if longer.mean() >= shorter.mean() else shorter
    scored = [j for j in judged if j.scores is not None]
    return Accuracy(
        num_pairs=n,
        num_prompts=len(set(clusters)),
        num_refused=n - len(scored),
        accuracy=wilson(float(correct.sum()), n),
        clustered=clustered_rate(correct, clusters),
        longer=wilson(float(longer.sum()), n),
        shorter=wilson(float(shorter.sum()), n),
        over_baseline=clustered_bootstrap(correct - better, clusters, bounds=(-1.0, 1.0)),
        length_correlation=_length_correlation(scored),
    )


def _wins(differences: Sequence[float]) -> Floats:
    return (np.sign(np.array(differences, dtype=np.float64)) + 1.0) / 2.0


def _length_correlation(scored: Sequence[Judged]) -> float:
    margins = [j.scores[0] - j.scores[1] for j in scored if j.scores is not None]
    lengths = [len(j.pair.chosen) - len(j.pair.rejected) for j in scored]
    return length_correlation(margins, lengths) if scored else 0.0
