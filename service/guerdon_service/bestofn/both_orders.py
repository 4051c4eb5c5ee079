"""A pairwise scorer asked in both orders, because most prefer a place: Zheng et al. (arXiv 2306.05685)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from guerdon_service.core.conversation import Message
from guerdon_service.core.pairwise import PairwiseScorer
from guerdon_service.core.statistics.arrays import Clusters
from guerdon_service.core.statistics.bootstrap import clustered_bootstrap
from guerdon_service.core.statistics.clustered import clustered_rate
from guerdon_service.core.statistics.interval import Interval


@dataclass(frozen=True, slots=True)
class BothOrders:
    """P(a is better) as said with a first, and with a second."""

    a_first: float
    a_second: float

    @property
    def p_a(self) -> float:
        """The mean of the two; exactly 0.5 for a scorer that looks at the order alone."""
        return (self.a_first + self.a_second) / 2

    @property
    def flips(self) -> bool:
        """Whether the winner depends on the order; a 0.5 in one of them decides nothing."""
        return (self.a_first - 0.5) * (self.a_second - 0.5) < 0


@dataclass(frozen=True, slots=True)
class PositionBias:
    """flip_rate: share of pairs whose winner depends on the order.

    position_effect: mean probability that standing first adds, from -1 (always the second) to 1.
    """

    flip_rate: Interval
    position_effect: Interval


async def ask_both_orders(
    scorer: PairwiseScorer, prompt: tuple[Message, ...], a: str, b: str
) -> BothOrders | None:
    """Two questions, one after the other; None where one of them was not decided.

    Raises:
        GuerdonError: the scorer's.
    """
    forth = await scorer.p_first(prompt, a, b)
    back = await scorer.p_first(prompt, b, a)
    return None if forth is None or back is None else BothOrders(forth, 1.0 - back)


def position_bias(answers: Sequence[BothOrders], clusters: Clusters, seed: int = 0) -> PositionBias:
    """How far the order decided, with intervals over clusters.

    Args:
        clusters: one key per answer, here prompts.

    Raises:
        InvalidInput: no answers, or not one key each.
    """
    effects = np.array([answer.a_first - answer.a_second for answer in answers])
    return PositionBias(
        clustered_rate([float(answer.flips) for answer in answers], clusters),
        clustered_bootstrap(effects, clusters, seed),
    )
