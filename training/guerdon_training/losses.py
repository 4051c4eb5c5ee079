"""Losses of the recipes: pure functions of tensors."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def bradley_terry(chosen: Tensor, rejected: Tensor, flip_rate: float = 0.0) -> Tensor:
    """Negative log likelihood of each preference under Bradley-Terry, with label noise.

    ``-(1 - e) log s(m) - e log s(-m)`` for margin m and flip rate e: Bradley and Terry (1952) as in
    Ouyang et al. (arXiv 2203.02155, eq. 1); the soft label is the conservative form of Mitchell's
    "A note on DPO with noisy preferences" (2023), applied to a reward model.

    Args:
        chosen: float [P], rewards of the preferred responses.
        rejected: float [P], rewards of the others.
        flip_rate: probability in [0, 0.5) that a label is wrong.

    Returns:
        float [P], one loss per pair, in nats.
    """
    margin = chosen - rejected
    return -(1.0 - flip_rate) * logsigmoid(margin) - flip_rate * logsigmoid(-margin)


def centring(chosen: Tensor, rejected: Tensor) -> Tensor:
    """Penalty ``(r_c + r_r)^2`` that pins the free constant of Bradley-Terry near zero.

    Eisenstein et al. (arXiv 2312.09244, eq. 2). Shapes as in `bradley_terry`.
    """
    return torch.square(chosen + rejected)
