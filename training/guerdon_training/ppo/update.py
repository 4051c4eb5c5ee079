"""The gradient steps on one rollout."""

from dataclasses import dataclass
from math import isfinite

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from guerdon_training.distributed import shares
from guerdon_training.policy.logprobs import sum_by_example
from guerdon_training.policy.rows import Row, fill, pack
from guerdon_training.ppo.actor_critic import Evaluated
from guerdon_training.ppo.config import PpoConfig, PpoOptim
from guerdon_training.ppo.episodes import Episodes
from guerdon_training.ppo.losses import kl_k3, policy_clipped, policy_losses, value_losses
from guerdon_training.ppo.rollout import filled, not_finite
from guerdon_training.ppo.together import mean_over_processes
from guerdon_training.sharded import clip_norm, mean_gradients


@dataclass(frozen=True, slots=True)
class Batch:
    """Some episodes of a minibatch, packed; N sampled tokens, flat.

    logprobs, values: as sampled. returns: what the critic learns. advantages: [N]; for RLOO [S], by response.
    """

    row: Row
    logprobs: Tensor
    values: Tensor
    returns: Tensor
    advantages: Tensor


def update(
    accelerator: Accelerator,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    episodes: Episodes,
    config: PpoConfig,
    seed: int,
) -> dict[str, float]:
    """`epochs` passes over the episodes in `minibatches` steps each, shuffled anew for each pass.

    Args:
        model: trained in place; every process has the same, or its part.
        episodes: the same in every process.

    Returns:
        Means over the steps; ``first/...`` are of the very first step, where the policy is still the one that
        sampled: the ratio must be 1 and nothing clipped.

    Raises:
        GuerdonError: a loss is not finite. Of the last step no loss tells; see `check_sound`.
    """
    generator = torch.Generator().manual_seed(seed)
    steps = []
    for _ in range(config.optim.epochs):
        order = torch.randperm(len(episodes.rollout.examples), generator=generator)
        for minibatch in order.tensor_split(config.optim.minibatches):
            steps.append(_step(accelerator, model, optimizer, episodes, minibatch.tolist(), config))
    first = {f"first/{name.split('/')[1]}": value for name, value in steps[0].items() if "ratio" in name}
    means = {name: sum(s[name] for s in steps) / len(steps) for name in steps[0]}
    return means | first | {"first/clip_fraction": steps[0]["policy/clip_fraction"]}


def _step(
    accelerator: Accelerator,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    episodes: Episodes,
    minibatch: list[int],
    config: PpoConfig,
) -> dict[str, float]:
    """One optimiser step on one minibatch, its gradient summed over packed batches of all processes."""
    optim, num_processes = config.optim, accelerator.num_processes
    num_tokens = float(episodes.rollout.mask[minibatch].sum())
    figures: dict[str, float] = {}
    cuts = fill([len(episodes.rollout.examples[i].input_ids) for i in minibatch], optim.max_row_tokens)
    for cut, weight in shares(cuts, accelerator.process_index, num_processes):
        batch = _batch(episodes, [minibatch[j] for j in cut], accelerator.device)
        now: Evaluated = model(batch.row, config.rollout.temperature)
        loss, found = batch_loss(batch, now, len(minibatch), num_tokens, config)
        accelerator.backward(loss * (weight * num_processes))  # of which the mean is taken
        figures = {n: figures.get(n, 0.0) + value * (weight * num_processes) for n, value in found.items()}
    figures = mean_over_processes(accelerator, figures)
    if not isfinite(figures["loss/policy"] + figures.get("loss/value", 0.0)):
        raise not_finite("the loss is")
    trained = [p for p in model.parameters() if p.requires_grad]
    mean_gradients(accelerator, trained)
    norm = clip_norm(accelerator, trained, optim.max_grad_norm)
    optimizer.step()
    optimizer.zero_grad()
    return figures | {"policy/grad_norm": norm}


@torch.no_grad()
def check_sound(model: nn.Module, episodes: Episodes, config: PpoConfig, device: torch.device) -> None:
    """Before weights are written: whether the last step was sound too, by what fits into one row.

    Raises:
        GuerdonError: the networks say nothing finite.
    """
    first = filled(episodes.rollout, config.optim.max_row_tokens)[0]
    now: Evaluated = model(_batch(episodes, first, device).row, config.rollout.temperature)
    if not bool(torch.isfinite(now.logprobs).all() and torch.isfinite(now.values).all()):
        raise not_finite("the policy's log-probabilities are")


def batch_loss(
    batch: Batch, now: Evaluated, num_episodes: int, num_tokens: float, config: PpoConfig
) -> tuple[Tensor, dict[str, float]]:
    """This batch's share of the minibatch's mean loss, and its shares of the figures.

    The mean is over tokens for PPO and over responses for RLOO, so it does not depend on the packing.

    Args:
        num_episodes, num_tokens: of the whole minibatch.
    """
    optim = config.optim
    logprobs, old, count = now.logprobs, batch.logprobs, num_tokens
    if config.algorithm == "rloo":
        logprobs, old, count = (
            sum_by_example(batch.row, logprobs),
            sum_by_example(batch.row, old),
            num_episodes,
        )
    loss = policy_losses(logprobs, old, batch.advantages, optim.clip).sum() / count
    ratio = torch.exp(logprobs - old).detach()
    figures = {
        "loss/policy": float(loss.detach()),
        "policy/approx_kl": float(kl_k3(old, logprobs).detach().sum()) / count,
        "policy/clip_fraction": float(
            policy_clipped(logprobs, old, batch.advantages, optim.clip).detach().sum()
        )
        / count,
        "policy/ratio": float(ratio.sum()) / count,
    }
    if config.algorithm == "ppo":
        value_loss = (
            value_losses(now.values, batch.values, batch.returns, optim.value_clip).sum() / num_tokens
        )
        loss = loss + optim.value_weight * value_loss
        figures["loss/value"] = float(value_loss.detach())
    return loss, figures


def learning_rate(start: float, done: int, optim: PpoOptim) -> float:
    """Annealed linearly: `start` for the first update, one step above 0 for the last."""
    return start * (1.0 - done / optim.updates)


def _batch(episodes: Episodes, rows: list[int], device: torch.device) -> Batch:
    kept = episodes.rollout.mask[rows] > 0
    advantages = episodes.advantages[rows]
    flat = (
        episodes.logprobs[rows][kept],
        episodes.values[rows][kept],
        episodes.returns[rows][kept],
        advantages[kept] if advantages.dim() == 2 else advantages,
    )
    row = pack([episodes.rollout.examples[i] for i in rows])
    return Batch(row.to(device), *(t.to(device) for t in flat))
