"""How noisy labels are, and the accuracy that a perfect model can reach against them.

Let x be the probability of an item's commonest label, with K possible labels. Two annotators agree with
probability A, and a perfect model matches one label with probability E[x], the ceiling. A does not fix E[x]:
- it is greatest when every item is equally hard; then A = x^2 + (1 - x)^2 / (K - 1), independent flips
  (for K = 2, agreement = (1 - e)^2 + e^2 with flip rate e);
- it is least, E[x] = A, when some items are certain and the rest are coin tosses.
Both are reached: the first by Jensen's inequality, the second since x >= the sum of squared probabilities.
"""

from math import comb, sqrt

import numpy as np
from numpy.typing import NDArray

from guerdon_service.core.statistics.arrays import Clusters
from guerdon_service.core.statistics.bootstrap import clustered_bootstrap
from guerdon_service.core.statistics.interval import Interval


def pairwise_agreement(counts: NDArray[np.float64], clusters: Clusters | None = None) -> Interval:
    """Probability that two annotators of one item agree, items weighing the same, by `clustered_bootstrap`.

    Args:
        counts: float64 [items, labels]; items with fewer than two labels are left out.
        clusters: a key per item, here prompts; by default items are independent.
    """
    (kept,) = np.nonzero(counts.sum(axis=1) >= 2)
    units = counts[kept]
    num = units.sum(axis=1)
    agreed = (units * (units - 1)).sum(axis=1) / (num * (num - 1))
    keys = kept if clusters is None else [clusters[i] for i in kept.tolist()]
    return clustered_bootstrap(agreed, keys, bounds=(0.0, 1.0))


def flip_rate(agreement: float, num_labels: int = 2) -> float:
    """Chance that a label is not the item's commonest one, all items equally hard.

    Agreement at or below 1 / K is no better than chance: the rate is then 1 - 1 / K.
    """
    excess = max(0.0, (num_labels - 1) * (num_labels * agreement - 1))
    return 1 - (1 + sqrt(excess)) / num_labels


def ceiling(agreement: float, num_labels: int = 2) -> tuple[float, float]:
    """Least and greatest accuracy of a perfect model against one label, given pairwise agreement."""
    return max(agreement, 1 / num_labels), 1 - flip_rate(agreement, num_labels)


def majority_ceiling(agreement: float, num_votes: int) -> tuple[float, float]:
    """Least and greatest accuracy of a perfect model against the majority of an odd number of two-way votes.

    The same two models of the noise as for one label; more votes lift the even-noise bound alone.
    """
    right = 1 - flip_rate(agreement)
    need = num_votes // 2 + 1
    even = sum(
        comb(num_votes, k) * right**k * (1 - right) ** (num_votes - k) for k in range(need, num_votes + 1)
    )
    return max(agreement, 0.5), even


def flip_rate_of_cycles(share: float) -> float:
    """Flip rate e from the share of cyclic triples among three answers compared with one another.

    With a true order and independent flips a triple is cyclic with probability e (1 - e): either only the
    comparison of first and last is flipped, or only the other two are.
    """
    return (1 - sqrt(max(0.0, 1 - 4 * share))) / 2
