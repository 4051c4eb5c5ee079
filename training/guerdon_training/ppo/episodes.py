"""What one rollout teaches: advantages and returns, and figures about it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from guerdon_training.ppo.actor_critic import Evaluated
from guerdon_training.ppo.advantages import generalised_advantages, leave_one_out
from guerdon_training.ppo.config import PpoConfig
from guerdon_training.ppo.kl import token_rewards
from guerdon_training.ppo.losses import explained_variance, kl_k1, kl_k3
from guerdon_training.ppo.masked import masked_mean, whiten
from guerdon_training.ppo.rollout import Rollout


@dataclass(frozen=True, slots=True)
class Episodes:
    """B episodes, ready for the update. Float32 on the CPU, [B, R] unless said otherwise, 0 off the mask.

    advantages: [B, R] for PPO, [B] for RLOO. returns: what the critic learns; equals `values` for RLOO.
    """

    rollout: Rollout
    logprobs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor


def learnable(
    rollout: Rollout,
    scores: Tensor,
    sampled: Evaluated,
    reference: Evaluated,
    kl_coefficient: float,
    config: PpoConfig,
) -> Episodes:
    """Turn scores (float32 [B]) into advantages: with the critic token by token, without it by response."""
    mask = rollout.mask
    if config.algorithm == "rloo":
        divergence = kl_k1(sampled.logprobs, reference.logprobs).mul(mask).sum(1)
        advantages = leave_one_out(scores - kl_coefficient * divergence, config.rollout.samples_per_prompt)
        return Episodes(rollout, sampled.logprobs, sampled.values, advantages, sampled.values)
    rewards = token_rewards(scores, sampled.logprobs, reference.logprobs, mask, kl_coefficient)
    if config.scores.whiten:
        rewards = whiten(rewards, mask, shift_mean=False)
    optim = config.optim
    advantages = generalised_advantages(rewards, sampled.values, mask, optim.gamma, optim.lam)
    returns = advantages + sampled.values
    return Episodes(rollout, sampled.logprobs, sampled.values, whiten(advantages, mask), returns)


def describe(
    episodes: Episodes, scores: Tensor, sampled: Evaluated, reference: Evaluated, kl_coefficient: float
) -> dict[str, float]:
    """Figures of one rollout. KL in nats per response, entropy in nats per token, lengths in tokens."""
    rollout, mask = episodes.rollout, episodes.rollout.mask
    lengths = mask.sum(1)
    kl = kl_k1(sampled.logprobs, reference.logprobs).mul(mask).sum(1)
    kept = mask > 0
    gaps = (rollout.logprobs - sampled.logprobs).abs()[kept]
    return {
        "objective/score": float(scores.mean()),
        "objective/score_std": float(scores.std(correction=0)),
        "objective/kl": float(kl.mean()),
        "objective/kl_k3": float(kl_k3(sampled.logprobs, reference.logprobs).mul(mask).sum(1).mean()),
        "objective/kl_coefficient": kl_coefficient,
        "objective/reward": float((scores - kl_coefficient * kl).mean()),
        "policy/entropy": float(masked_mean(sampled.entropies, mask)),
        "value/explained_variance": explained_variance(episodes.values[kept], episodes.returns[kept]),
        "response/length": float(lengths.mean()),
        "response/length_p95": float(torch.quantile(lengths, 0.95)),
        "response/eos_rate": float(rollout.finished.float().mean()),
        "response/distinct": len({c.response for c in rollout.conversations}) / len(rollout.conversations),
        "check/logprob_gap": float(gaps.max()),
    }
