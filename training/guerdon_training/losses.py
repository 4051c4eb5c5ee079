"""Losses of the reward recipe: pure functions of tensors. None reduces over comparisons."""

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, logsigmoid


def bradley_terry(
    chosen: Tensor, rejected: Tensor, label: Tensor | float = 1.0, margin: Tensor | float = 0.0
) -> Tensor:
    """Negative log likelihood of each preference under Bradley-Terry.

    ``-l log s(d - m) - (1 - l) log s(-d - m)`` for the difference d of the rewards, the label l and the
    margin m: Bradley and Terry (1952) as in Ouyang et al. (arXiv 2203.02155, eq. 1). The soft label is the
    conservative form of Mitchell's "A note on DPO with noisy preferences" (2023), applied to a reward model;
    the margin is that of Llama 2 (Touvron et al., arXiv 2307.09288, eq. 2), which has hard labels alone.

    Args:
        chosen: float [P], rewards of the preferred responses.
        rejected: float [P], rewards of the others.
        label: float [P] in [0, 1], probability that the preferred response is the better one; at 0 the
            pair is swapped.
        margin: float [P], by how much the better one should lead; 0 is the plain model.

    Returns:
        float [P], one loss per pair, in nats.
    """
    difference = chosen - rejected
    return -label * logsigmoid(difference - margin) - (1.0 - label) * logsigmoid(-difference - margin)


def plackett_luce(rewards: Tensor, ranks: Tensor) -> Tensor:
    """Negative log likelihood of one ranking: Plackett (1975), Luce (1959).

    The best is drawn with probability ``softmax(rewards)``, then the best of the rest, and so on. Responses
    of one rank are each drawn from all that are no better, the other ones of their rank included: Breslow's
    (1974) treatment of ties in the same likelihood of Cox. It draws their rewards together. Two responses
    are `bradley_terry`, and twice its loss at label 0.5 when tied.

    Args:
        rewards: float [K, ...], of one prompt's responses. ranks: int64 [K], 1 the best; equal is a tie.

    Returns:
        float [...], in nats.
    """
    no_better = ranks.unsqueeze(0) >= ranks.unsqueeze(1)  # [drawn, candidate]
    mask = no_better.view(*no_better.shape, *[1] * (rewards.dim() - 1))
    candidates = rewards.unsqueeze(0).masked_fill(~mask, -torch.inf)
    return (candidates.logsumexp(1) - rewards).sum(0)


def davidson(chosen: Tensor, rejected: Tensor, label: Tensor, tie: Tensor, log_nu: Tensor) -> Tensor:
    """Cross entropy of preferred, other and tie under Davidson's (1970) model.

    With strengths ``p = exp(reward)``: ``P(tie) = nu sqrt(p_c p_r) / (p_c + p_r + nu sqrt(p_c p_r))``, so two
    equal ones tie with probability ``nu / (2 + nu)``; nu = 0 is Bradley-Terry.

    Args:
        chosen, rejected: float [P].
        label: float [P], probability that the preferred response is judged better.
        tie: float [P], probability that neither is; what is left is the other response's.
        log_nu: float [P] or scalar, logarithm of nu, which may be learned.

    Returns:
        float [P], in nats.
    """
    logs = log_softmax(davidson_logits(chosen, rejected, log_nu), dim=-1)
    return -(torch.stack([label, 1.0 - label - tie, tie], dim=-1) * logs).sum(-1)


def davidson_logits(chosen: Tensor, rejected: Tensor, log_nu: Tensor) -> Tensor:
    """Logits of preferred, other and tie: float [P, 3]."""
    half = (chosen - rejected) / 2.0
    return torch.stack([half, -half, log_nu.expand_as(half)], dim=-1)


def centring(chosen: Tensor, rejected: Tensor) -> Tensor:
    """Penalty ``(r_c + r_r)^2`` that pins the free constant of Bradley-Terry near zero.

    Eisenstein et al. (arXiv 2312.09244, eq. 2). Shapes as in `bradley_terry`.
    """
    return torch.square(chosen + rejected)


def length_covariance(part: Tensor, whole: Tensor, num: Tensor) -> Tensor:
    """Of the penalty ``n cov(reward differences, length differences)^2`` over a step of n comparisons what
    one batch of it adds, in squared nats.

    Each comparison counts in both directions, so both means are zero and the covariance is the mean product;
    between prompts neither rewards nor lengths are compared. A correlation would not change with the scale of
    the rewards, so while they are small, early in a run, its gradient would drown the likelihood's.

    A square is no sum over batches; values and gradients of the parts are, however the step is cut.

    Args:
        part: float [...], products of both differences, summed over the batch; lengths in a unit in which
            they are about 1.
        whole: float [...], the same over the step, a constant. num: n, broadcast to them.
    """
    found = part * whole / num
    return 2.0 * found - found.detach()
