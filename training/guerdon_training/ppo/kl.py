"""The price of leaving the reference: per token, at a fixed or an adaptive rate."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

MAX_STEP = 0.2
"""Largest relative error that the controller acts on (Ziegler et al., arXiv 1909.08593, section 2.2)."""


@dataclass(frozen=True, slots=True)
class KlController:
    """The KL coefficient now, and the rule that moves it.

    coefficient: beta. target: nats per response that the rule steers to; 0.0 keeps beta as it is.
    horizon: episodes over which a full relative error of 1 would change beta e-fold (if it were not cut).
    """

    coefficient: float
    target: float = 0.0
    horizon: int = 10_000

    def after(self, kl: float, num_episodes: int) -> "KlController":
        """Controller after a batch of `num_episodes` with a mean KL of `kl` nats per response.

        ``beta *= 1 + clip(kl / target - 1, -0.2, 0.2) * n / horizon`` (the same section of Ziegler et al.).
        """
        if self.target == 0.0:
            return self
        error = min(max(kl / self.target - 1.0, -MAX_STEP), MAX_STEP)
        return replace(self, coefficient=self.coefficient * (1.0 + error * num_episodes / self.horizon))


def token_rewards(
    scores: Tensor, logprobs: Tensor, ref_logprobs: Tensor, mask: Tensor, coefficient: float
) -> Tensor:
    """``-beta (log pi - log ref)`` for every token, and the score on the last one: float [B, R].

    Args:
        scores: float [B], of whole responses.
        logprobs, ref_logprobs: float [B, R], of the sampled tokens.
        mask: float [B, R], ones before zeros, at least one 1 a row. The last 1 is the EOS, or the last
            token of a response that filled all R positions.
        coefficient: beta.
    """
    rewards = -coefficient * (logprobs - ref_logprobs) * mask
    last = mask.sum(1).long() - 1
    rewards[torch.arange(len(scores)), last] += scores
    return rewards
