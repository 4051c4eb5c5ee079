"""Candidate against baseline, from kept scores alone: always paired, slice by slice."""

import numpy as np

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.statistics.bootstrap import clustered_bootstrap
from guerdon_service.core.statistics.calibration_error import log_losses
from guerdon_service.core.statistics.comparison import MIN_PROMPTS, PairedComparison, compare_paired
from guerdon_service.core.statistics.interval import Interval
from guerdon_service.core.statistics.length_correlation import length_rise
from guerdon_service.evaluation.correctness import Contests, contests, decided, refused, soft_labels
from guerdon_service.evaluation.measure import Judged
from guerdon_service.evaluation.table import ItemTable

MIN_SLICE_ITEMS = 30
"""Smaller slices cannot tell anything apart, and would cost the others power in Holm's correction."""


def check_margin(margin: float) -> None:
    """Raise `InvalidInput` unless ``0 <= margin < 1``."""
    if not 0.0 <= margin < 1.0:
        raise InvalidInput(f"margin is {margin}; give 0 or more and less than 1", param="margin")


def compare(table: ItemTable, candidate: Judged, baseline: Judged, margin: float) -> PairedComparison:
    """The verdict on items that people decided and both models scored, and on each slice that has enough of
    them, and of their prompts.

    What only one scored tells nothing of the other; `ModelReport.num_refused` says how many those are.

    Of slices with the very same items the first stands for all.

    Args:
        margin: non-inferiority margin in accuracy.

    Raises:
        InvalidInput: the margin is out of range, or there is no such item.
    """
    both = ~refused(table, candidate.rewards) & ~refused(table, baseline.rewards)
    asked = np.flatnonzero(decided(table) & both)
    if not len(asked):
        raise InvalidInput("no item was scored by candidate and baseline; give shorter ones", param="data")
    clusters = table.clusters[asked]
    slices = {}
    seen = set()
    for key, rows in table.slices.items():
        mask = np.isin(asked, rows, assume_unique=True)
        is_enough = mask.sum() >= MIN_SLICE_ITEMS and len(np.unique(clusters[mask])) >= MIN_PROMPTS
        if is_enough and not mask.all() and mask.tobytes() not in seen:
            slices[f"{key.kind} {key.name}"] = mask
            seen.add(mask.tobytes())
    return compare_paired(
        candidate.correct[asked],
        baseline.correct[asked],
        clusters,
        margin=margin,
        slices=slices,
    )


def compare_losses(table: ItemTable, candidate: Judged, baseline: Judged) -> Interval | None:
    """Negative log-likelihood of the candidate less that of the baseline, in nats, over the same pairs.

    It sees how sure a model is, which accuracy does not. None where no pair was scored by both, and for one
    prompt, which shows nothing of others.
    """
    scored = _scored_by_both(table, candidate, baseline)
    clusters = table.clusters[scored.item]
    if len(np.unique(clusters)) < 2:
        return None
    label = soft_labels(table, scored)
    ours, theirs = (log_losses(model.probabilities(scored), label) for model in (candidate, baseline))
    return clustered_bootstrap(ours - theirs, clusters)


def compare_lengths(table: ItemTable, candidate: Judged, baseline: Judged) -> Interval | None:
    """How much more the candidate's rewards follow length than the baseline's, over the same decided pairs.

    None where no such pair was scored by both.
    """
    scored = _scored_by_both(table, candidate, baseline)
    pairs = scored.only(scored.label == 1.0)
    if not len(pairs.first):
        return None
    lengths = table.lengths[pairs.first] - table.lengths[pairs.second]
    ours, theirs = (m.rewards[pairs.first] - m.rewards[pairs.second] for m in (candidate, baseline))
    return length_rise(ours, theirs, lengths, table.clusters[pairs.item])


def _scored_by_both(table: ItemTable, candidate: Judged, baseline: Judged) -> Contests:
    found = contests(table)
    return found.only(~np.isnan(candidate.rewards[found.first] + baseline.rewards[found.first]))
