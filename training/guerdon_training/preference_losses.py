"""Losses of direct preference optimisation: pure functions of one margin per pair.

The margin is the difference of two log-ratios, ``m = log pi(c|x)/ref(c|x) - log pi(r|x)/ref(r|x)`` for the
chosen response c and the rejected r. A log-ratio is a sum over the response's tokens, or, where a loss says
so, their mean. All return float [P], one loss per pair; none reduces.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def sigmoid_loss(margin: Tensor, beta: float) -> Tensor:
    """``-log s(beta m)``: DPO (Rafailov et al., arXiv 2305.18290, eq. 7).

    The likelihood of Bradley-Terry with the implicit reward ``beta log pi/ref``.

    Args:
        margin: float [P]. beta: strength of the pull to the reference, above 0; 0.1 in the source.
    """
    return -logsigmoid(beta * margin)


def conservative_loss(margin: Tensor, beta: float, flip_rate: float) -> Tensor:
    """``-(1 - e) log s(beta m) - e log s(-beta m)``: cDPO (Mitchell, "A note on DPO with noisy preferences
    and relationship to IPO", 2023).

    Least where ``s(beta m) = 1 - e``, so no margin grows without end.

    Args:
        margin, beta: as `sigmoid_loss`. flip_rate: e, probability in [0, 0.5) that a label is wrong.
    """
    return -(1.0 - flip_rate) * logsigmoid(beta * margin) - flip_rate * logsigmoid(-beta * margin)


def robust_loss(margin: Tensor, beta: float, flip_rate: float) -> Tensor:
    """``((1 - e) l(m) - e l(-m)) / (1 - 2e)`` with l of `sigmoid_loss`: rDPO (Chowdhury et al., arXiv
    2403.00409).

    Under flips at rate e its expectation is the loss on clean labels. The price is variance that blows up as
    e nears 0.5, and no lower bound: it falls without end as m grows.

    Args:
        margin, beta, flip_rate: as `conservative_loss`.
    """
    clean, flipped = sigmoid_loss(margin, beta), sigmoid_loss(-margin, beta)
    return ((1.0 - flip_rate) * clean - flip_rate * flipped) / (1.0 - 2.0 * flip_rate)


def ipo_loss(margin: Tensor, beta: float) -> Tensor:
    """``(m - 1 / (2 beta))^2``: IPO (Azar et al., arXiv 2310.12036, eq. 17; beta is its tau).

    Bounded margins even where every label agrees. Give it log-ratios averaged over tokens: the target is one
    number for all pairs, so with sums a pair of long responses would reach it with a tiny change per token
    and one of short responses would need a large one. The paper writes sums; its authors told trl's that
    their results used means.

    Args:
        margin: float [P], of means over tokens. beta: above 0.
    """
    return torch.square(margin - 1.0 / (2.0 * beta))


def hinge_loss(margin: Tensor, beta: float) -> Tensor:
    """``max(0, 1 - beta m)``: SLiC (Zhao et al., arXiv 2305.10425) on log-ratios, as Liu et al. (arXiv
    2309.06657) put it; 1 / beta is SLiC's delta.

    Args:
        margin, beta: as `sigmoid_loss`.
    """
    return torch.relu(1.0 - beta * margin)


MEAN_LOSSES = frozenset({"ipo"})
"""Losses that always see log-ratios averaged over tokens."""

LOSSES: dict[str, Callable[[Tensor, float, float], Tensor]] = {
    "sigmoid": lambda margin, beta, _: sigmoid_loss(margin, beta),
    "conservative": conservative_loss,
    "robust": robust_loss,
    "ipo": lambda margin, beta, _: ipo_loss(margin, beta),
    "hinge": lambda margin, beta, _: hinge_loss(margin, beta),
}
"""By name in a config, called with margin, beta and flip rate."""

FLIP_LOSSES = frozenset({"conservative", "robust"})
"""Losses that use the flip rate."""
