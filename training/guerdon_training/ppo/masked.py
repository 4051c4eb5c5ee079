"""Means over the positions that a mask keeps."""

import torch
from torch import Tensor

EPSILON = 1e-8
"""Added to a variance before its root (Huang et al., arXiv 2403.17031, `whiten`)."""


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` where `mask` is 1: a scalar. What the mask drops may even be NaN.

    Args:
        values: float [B, R]. mask: float [B, R], not all 0.
    """
    return torch.where(mask > 0, values, 0.0).sum() / mask.sum()


def masked_variance(values: Tensor, mask: Tensor) -> Tensor:
    """Population variance (divided by the count, not by one less): a scalar. Arguments as `masked_mean`."""
    return masked_mean((values - masked_mean(values, mask)) ** 2, mask)


def whiten(values: Tensor, mask: Tensor, *, shift_mean: bool = True) -> Tensor:
    """Scale to unit variance over the mask, and to mean 0 unless `shift_mean` is False; 0 elsewhere.

    Advantages lose their mean, rewards keep it (Huang et al., "The N implementation details of RLHF with
    PPO", 2023, details 11 and 12). Arguments as `masked_mean`.
    """
    mean = masked_mean(values, mask)
    whitened = (values - mean) * torch.rsqrt(masked_variance(values, mask) + EPSILON)
    return torch.where(mask > 0, whitened if shift_mean else whitened + mean, 0.0)
