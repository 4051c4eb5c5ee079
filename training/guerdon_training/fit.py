"""The optimisation of the reward recipe: Bradley-Terry on the upper layers, averaged weights."""

from collections.abc import Callable
from random import Random

import torch
from torch import Tensor, nn
from tqdm import tqdm

from guerdon_training.average import MovingAverage
from guerdon_training.config import OptimConfig
from guerdon_training.losses import bradley_terry, centring
from guerdon_training.rows import Rows
from guerdon_training.steps import MicroBatch, epoch_steps
from guerdon_training.trunk import SplitEncoder

State = dict[str, Tensor]
"""Trained parameters by name."""


def fit(
    model: nn.Module,
    encoder: SplitEncoder,
    rows: Rows,
    config: OptimConfig,
    seed: int,
    quality: Callable[[], float],
) -> State:
    """Train; give the averaged weights of the epoch with the highest `quality`.

    Dropout is off throughout (Huang et al., "The N implementation details of RLHF with PPO", 2023).

    Args:
        quality: called after each epoch with the averaged weights in place; higher is better.
    """
    model.eval()
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    parameters = list(named.values())
    random = Random(seed)  # noqa: S311 - reproducible order, not a secret
    plan = [
        list(epoch_steps(rows, config.pairs_per_step, config.max_batch_tokens, random))
        for _ in range(config.epochs)
    ]
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = _schedule(optimizer, sum(map(len, plan)), config.warmup_share)
    average = MovingAverage(parameters, config.ema_decay)
    states = encoder.lower(rows.tokens, config.max_batch_tokens, "frozen layers")
    best, best_quality = State(), float("-inf")
    for number, steps in enumerate(plan, start=1):
        with tqdm(steps, desc=f"epoch {number}/{config.epochs}", unit="step") as progress:
            for step in progress:
                loss = _backward(encoder, states, step, config)
                nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
                average.update()
                progress.set_postfix(loss=f"{loss:.3f}")
        average.swap()
        reached = quality()
        if reached > best_quality:
            best, best_quality = {name: p.detach().clone() for name, p in named.items()}, reached
        average.swap()
    return best


def _backward(
    encoder: SplitEncoder, states: list[Tensor], step: list[MicroBatch], config: OptimConfig
) -> float:
    """Accumulate the gradient of the step's mean loss; give that loss.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    num_pairs = sum(len(batch.comparisons) for batch in step)
    total = 0.0
    for batch in step:
        outputs = encoder.upper([states[row] for row in batch.rows])
        heads = [c.head for c in batch.comparisons]
        chosen = outputs[[c.chosen for c in batch.comparisons], heads]
        rejected = outputs[[c.rejected for c in batch.comparisons], heads]
        losses = bradley_terry(chosen, rejected, config.flip_rate)
        loss = (losses + config.centring * centring(chosen, rejected)).sum() / num_pairs
        loss.backward()
        total += float(loss.detach())
    if total != total or total == float("inf"):
        raise FloatingPointError("the loss is not finite; lower optim.learning_rate")
    return total


def _schedule(
    optimizer: torch.optim.Optimizer, num_steps: int, warmup_share: float
) -> torch.optim.lr_scheduler.LambdaLR:
    """Linear warm-up over a share of the steps, then linear decay to zero."""
    warmup = max(1.0, warmup_share * num_steps)
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, max(0.0, 1.0 - step / num_steps))
    )
