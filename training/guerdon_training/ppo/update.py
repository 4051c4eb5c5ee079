"""The gradient steps on one rollout."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from guerdon_training.policy.logprobs import sum_by_example
from guerdon_training.policy.rows import Row, fill, pack
from guerdon_training.ppo.actor_critic import Evaluated
from guerdon_training.ppo.config import PpoConfig, PpoOptim
from guerdon_training.ppo.episodes import Episodes
from guerdon_training.ppo.losses import kl_k3, policy_clipped, policy_losses, value_losses
from guerdon_training.ppo.rollout import not_finite


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
    accelerator: Any,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    episodes: Episodes,
    config: PpoConfig,
    seed: int,
) -> dict[str, float]:
    """`epochs` passes over the episodes in `minibatches` steps each, shuffled anew for each pass.

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
    accelerator: Any,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    episodes: Episodes,
    minibatch: list[int],
    config: PpoConfig,
) -> dict[str, float]:
    """One optimiser step on one minibatch, its gradient summed over packed batches."""
    optim = config.optim
    num_tokens = float(episodes.rollout.mask[minibatch].sum())
    figures: dict[str, float] = {}
    batches = list(_batches(episodes, minibatch, optim.max_row_tokens, accelerator.device))
    for place, batch in enumerate(batches, start=1):
        with nullcontext() if place == len(batches) else accelerator.no_sync(model):
            now: Evaluated = model(batch.row, config.rollout.temperature)
            loss, found = batch_loss(batch, now, len(minibatch), num_tokens, config)
            if not bool(torch.isfinite(loss)):
                raise not_finite("the loss is")
            accelerator.backward(loss)
        figures = {name: figures.get(name, 0.0) + value for name, value in found.items()}
    norm = accelerator.clip_grad_norm_(model.parameters(), optim.max_grad_norm)
    optimizer.step()
    optimizer.zero_grad()
    return figures | {"policy/grad_norm": float(norm)}


@torch.no_grad()
def check_sound(model: nn.Module, episodes: Episodes, config: PpoConfig, device: torch.device) -> None:
    """Before weights are written: whether the last step was sound too, by what fits into one row.

    Raises:
        GuerdonError: the networks say nothing finite.
    """
    first = next(
        _batches(episodes, list(range(len(episodes.rollout.examples))), config.optim.max_row_tokens, device)
    )
    now: Evaluated = model(first.row, config.rollout.temperature)
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


def _batches(
    episodes: Episodes, minibatch: list[int], max_row_tokens: int, device: torch.device
) -> Iterator[Batch]:
    examples = episodes.rollout.examples
    for cut in fill([len(examples[i].input_ids) for i in minibatch], max_row_tokens):
        rows = [minibatch[j] for j in cut]
        kept = episodes.rollout.mask[rows] > 0
        advantages = episodes.advantages[rows]
        flat = (
            episodes.logprobs[rows][kept],
            episodes.values[rows][kept],
            episodes.returns[rows][kept],
            advantages[kept] if advantages.dim() == 2 else advantages,
        )
        yield Batch(pack([examples[i] for i in rows]).to(device), *(t.to(device) for t in flat))
