"""Bradley-Terry strengths from comparisons, with intervals.

Bradley and Terry (1952): P(a beats b) = sigmoid(s_a - s_b), here with a tie as half a win each way.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike

from guerdon_service.core.calibration import sigmoid
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.statistics.arrays import (
    Clusters,
    Floats,
    Ints,
    cluster_freedom,
    shares,
)
from guerdon_service.core.statistics.clustered import student95
from guerdon_service.core.statistics.interval import Interval
from guerdon_service.core.statistics.logistic import fit_logistic


@dataclass(frozen=True, slots=True)
class BradleyTerry:
    """Strengths in nats, their mean 0, in the order in which the players first appear.

    Multiply by ``400 / log(10)`` for differences of Elo.
    covariance: float64 [K, K], cluster-robust.
    df: effective number of clusters less one, for Student's t in place of the normal.
    """

    players: tuple[Hashable, ...]
    strengths: Floats
    covariance: Floats
    df: float

    def strength(self, player: Hashable) -> Interval:
        """One strength, against the mean of all."""
        i = self.players.index(player)
        value, half = float(self.strengths[i]), student95(self.df) * sqrt(self.covariance[i, i])
        return Interval(value, value - half, value + half)

    def win_rate(self, player: Hashable, opponent: Hashable) -> Interval:
        """P(player beats opponent)."""
        i, j = self.players.index(player), self.players.index(opponent)
        value = float(self.strengths[i] - self.strengths[j])
        variance = self.covariance[i, i] + self.covariance[j, j] - 2 * self.covariance[i, j]
        half = student95(self.df) * sqrt(max(0.0, variance))
        return Interval(sigmoid(value), sigmoid(value - half), sigmoid(value + half))


def fit_bradley_terry(
    first: Sequence[Hashable],
    second: Sequence[Hashable],
    outcomes: ArrayLike,
    clusters: Clusters | None = None,
) -> BradleyTerry:
    """Maximum likelihood by Newton's method; sandwich covariance.

    Args:
        first, second: N players each, who met.
        outcomes: float64 [N] in [0, 1]: 1 the first won, 0 the second, 0.5 a tie.
        clusters: N keys, such as prompts or annotators; by default comparisons are independent.

    Raises:
        InvalidInput: lengths differ, a player meets itself, or the players fall into two groups of which one
            never beat the other, so that no maximum exists (Ford, 1957).
    """
    won = shares(outcomes, "outcomes", size=len(first))
    if len(second) != len(first) or any(a == b for a, b in zip(first, second, strict=True)):
        raise InvalidInput("first and second must name two different players per comparison", param="second")
    players = tuple(dict.fromkeys(p for pair in zip(first, second, strict=True) for p in pair))
    number = {player: i for i, player in enumerate(players)}
    left, right = (np.array([number[p] for p in side], dtype=np.int64) for side in (first, second))
    _check_connected(left, right, won, len(players))
    # The last player is fixed at 0 for the fit, and all are centred after it.
    features = np.zeros((len(won), len(players)))
    rows = np.arange(len(won))
    features[rows, left], features[rows, right] = 1.0, -1.0
    keys = rows if clusters is None else clusters
    fit = fit_logistic(features[:, :-1], won, clusters=keys)
    centre = (np.eye(len(players)) - 1.0 / len(players))[:, :-1]
    covariance = centre @ fit.covariance @ centre.T
    return BradleyTerry(players, centre @ fit.coefficients, covariance, cluster_freedom(keys, len(won)))


def _check_connected(left: Ints, right: Ints, won: Floats, num: int) -> None:
    reached = np.eye(num, dtype=np.bool_)
    reached[left[won > 0.0], right[won > 0.0]] = True
    reached[right[won < 1.0], left[won < 1.0]] = True
    for _ in range(num.bit_length()):
        reached = (reached.astype(np.float32) @ reached.astype(np.float32)) > 0.0
    if not reached.all():
        raise InvalidInput(
            "some players never beat, nor tie with, any of the others, directly or through others: no finite "
            "strength fits; leave them out, or compare more",
            param="outcomes",
        )
