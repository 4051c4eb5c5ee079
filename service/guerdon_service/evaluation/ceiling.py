"""How well a perfect model could do against these labels."""

import numpy as np

from guerdon_service.core.statistics.noise import majority_ceiling, pairwise_agreement
from guerdon_service.evaluation.correctness import decided
from guerdon_service.evaluation.report import CeilingReport
from guerdon_service.evaluation.table import Floats, ItemTable


def measure_ceiling(table: ItemTable, correct: Floats) -> CeilingReport | None:
    """None where no decided pair has two votes.

    Args:
        correct: the candidate's correctness, float64 [N].
    """
    pairs = np.flatnonzero((table.sizes == 2) & decided(table))
    left = table.offsets[pairs]
    counts = np.stack([table.votes[left], table.votes[left + 1]], axis=1)
    voted = counts.sum(axis=1) >= 2
    if not voted.any():
        return None
    agreement = pairwise_agreement(counts[voted], table.clusters[pairs[voted]])
    num_votes = int(np.median(counts[voted].sum(axis=1)) - 1) // 2 * 2 + 1
    low, high = majority_ceiling(agreement.value, num_votes)
    accuracy = float(correct[pairs[voted]].mean())
    return CeilingReport(
        int(voted.sum()), agreement, num_votes, min(low, high), high, accuracy, accuracy / high
    )
