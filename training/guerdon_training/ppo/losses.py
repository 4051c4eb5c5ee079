"""Losses of the policy and the critic, and what is watched beside them; per element, never reduced."""

import torch
from torch import Tensor


def policy_losses(logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """Clipped surrogate (Schulman et al., arXiv 1707.06347, eq. 7), negated: the shape of the arguments.

    PPO gives it tokens, [B, R]; RLOO gives it whole responses, [B], with summed log-probabilities, where at
    the first step it has the gradient of REINFORCE.

    Args:
        logprobs: of the actions under the policy that learns, with gradient.
        old_logprobs: under the policy that sampled.
        advantages: without gradient.
        clip: how far the ratio may leave 1; 0.2.
    """
    ratio = torch.exp(logprobs - old_logprobs)
    clipped = ratio.clamp(1.0 - clip, 1.0 + clip)
    return torch.maximum(-advantages * ratio, -advantages * clipped)


def value_losses(values: Tensor, old_values: Tensor, returns: Tensor, clip: float) -> Tensor:
    """Half the squared error, pessimistic about moving further than `clip` from `old_values`: float [B, R].

    From the PPO of Dhariwal et al. (openai/baselines, 2017), as in Ziegler et al. (arXiv 1909.08593).
    """
    clipped = torch.minimum(torch.maximum(values, old_values - clip), old_values + clip)
    return 0.5 * torch.maximum(torch.square(values - returns), torch.square(clipped - returns))


def policy_clipped(logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """1.0 where clipping took the gradient away, else 0.0; arguments as `policy_losses`."""
    ratio = torch.exp(logprobs - old_logprobs)
    rising = (advantages > 0) & (ratio > 1.0 + clip)
    falling = (advantages < 0) & (ratio < 1.0 - clip)
    clipped: Tensor = torch.logical_or(rising, falling).to(ratio.dtype)
    return clipped


def entropies(logits: Tensor) -> Tensor:
    """Entropy of each next-token distribution, in nats: ``[..., V]`` to ``[...]``."""
    logs = torch.log_softmax(logits.float(), -1)
    entropy: Tensor = torch.special.entr(logs.exp()).sum(-1)
    return entropy


def kl_k1(logprobs: Tensor, other_logprobs: Tensor) -> Tensor:
    """Estimates KL(p || q) from samples of p: ``log p - log q``. Unbiased; a batch may well be below 0.

    k1 to k3 are Schulman's ("Approximating KL divergence", 2020).

    Args:
        logprobs: log p of the samples. other_logprobs: log q of them.
    """
    return logprobs - other_logprobs


def kl_k2(logprobs: Tensor, other_logprobs: Tensor) -> Tensor:
    """``(log p - log q)^2 / 2``: biased, low variance, never negative. Arguments as `kl_k1`."""
    return 0.5 * torch.square(logprobs - other_logprobs)


def kl_k3(logprobs: Tensor, other_logprobs: Tensor) -> Tensor:
    """``q/p - 1 - log(q/p)``: unbiased and never negative. Arguments as `kl_k1`."""
    log_ratio = other_logprobs - logprobs
    return torch.expm1(log_ratio) - log_ratio


def explained_variance(values: Tensor, returns: Tensor) -> float:
    """Share of the variance of `returns` that `values` explain, at most 1; 0 where there is none to explain.

    Args:
        values, returns: float [N].
    """
    variance = float(returns.var(correction=0))
    return 0.0 if variance == 0.0 else 1.0 - float((returns - values).var(correction=0)) / variance
