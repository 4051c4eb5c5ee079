"""How much better an episode went than expected: with a critic, and without one."""

import torch
from torch import Tensor


def generalised_advantages(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> Tensor:
    """Generalised advantage estimation (Schulman et al., arXiv 1506.02438, eq. 16): float [B, R].

    ``A_t = sum_l (gamma lam)^l delta_{t+l}`` with ``delta_t = r_t + gamma V(s_{t+1}) - V(s_t)``. The state
    after the last response token has value 0: the episode is over.

    Args:
        rewards: float [B, R], for the token at each position.
        values: float [B, R], of the state before that token.
        mask: float [B, R], ones before zeros.
        gamma: discount; 1 in N+. lam: 0 is one-step TD, 1 is Monte Carlo; 0.95 in N+.

    Returns:
        Advantages, 0 off the mask. Adding `values` gives the TD(lambda) returns that a critic learns.
    """
    rewards, values = rewards * mask, values * mask
    after = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    deltas = rewards + gamma * after - values
    advantages = torch.zeros_like(deltas)
    running = torch.zeros_like(deltas[:, 0])
    for t in range(deltas.shape[1] - 1, -1, -1):
        running = deltas[:, t] + gamma * lam * running
        advantages[:, t] = running
    return advantages * mask


def leave_one_out(rewards: Tensor, samples_per_prompt: int) -> Tensor:
    """Reward less the mean of the other samples of the same prompt: float [B].

    The baseline of RLOO (Ahmadian et al., arXiv 2402.14740, eq. 6): it does not depend on the sample it is
    taken from, so the gradient stays unbiased.

    Args:
        rewards: float [B], of whole responses; samples of one prompt are neighbours.
        samples_per_prompt: k >= 2, a divisor of B.
    """
    groups = rewards.view(-1, samples_per_prompt)
    others = (groups.sum(1, keepdim=True) - groups) / (samples_per_prompt - 1)
    return (groups - others).flatten()
