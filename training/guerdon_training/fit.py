"""The optimisation of the reward recipe: Bradley-Terry on the upper layers, averaged weights."""

from random import Random
from statistics import mean

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from guerdon_training.average import MovingAverage
from guerdon_training.calibrate import calibrated_log_loss
from guerdon_training.config import OptimConfig
from guerdon_training.forward import by_budget
from guerdon_training.losses import bradley_terry, centring
from guerdon_training.rows import Rows
from guerdon_training.steps import MicroBatch, epoch_steps
from guerdon_training.trunk import SplitEncoder

State = dict[str, Tensor]
"""Trained parameters by name."""


def fit(
    model: nn.Module, encoder: SplitEncoder, train: Rows, valid: Rows, config: OptimConfig, seed: int
) -> State:
    """Train; give the averaged weights of the epoch with the lowest log loss on `valid`.

    Dropout is off throughout (Huang et al., "The N implementation details of RLHF with PPO", 2023).

    Raises:
        FloatingPointError: the loss is not finite.
    """
    model.eval()
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    parameters = list(named.values())
    random = Random(seed)  # noqa: S311 - a repeatable order, not a secret
    plan = [
        list(epoch_steps(train, config.pairs_per_step, config.max_batch_tokens, random))
        for _ in range(config.epochs)
    ]
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = _schedule(optimizer, sum(map(len, plan)), config.warmup_share)
    average = MovingAverage(parameters, config.ema_decay)
    states = encoder.lower(train.tokens, config.max_batch_tokens, "frozen layers, train")
    valid_states = encoder.lower(valid.tokens, config.max_batch_tokens, "frozen layers, valid")
    best, best_loss = State(), float("inf")
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
        losses = _log_losses(encoder, valid_states, valid, config.max_batch_tokens)
        tqdm.write(f"epoch {number}, log loss of each head on valid: {[round(x, 4) for x in losses]}")
        if mean(losses) < best_loss:
            best, best_loss = {name: p.detach().clone() for name, p in named.items()}, mean(losses)
        average.swap()
    return best


@torch.inference_mode()
def _log_losses(
    encoder: SplitEncoder, states: list[Tensor], rows: Rows, max_batch_tokens: int
) -> list[float]:
    """Calibrated log loss of each head on its own comparisons, in nats."""
    lengths = [s.shape[0] for s in states]
    order = sorted(range(len(states)), key=lengths.__getitem__)
    outputs: dict[int, Tensor] = {}
    for batch in by_budget(lengths, order, max_batch_tokens):
        outputs.update(zip(batch, encoder.upper([states[i] for i in batch]), strict=True))
    margins: dict[int, list[float]] = {}
    for c in rows.comparisons:
        margin = outputs[c.chosen][c.head] - outputs[c.rejected][c.head]
        margins.setdefault(c.head, []).append(float(margin))
    return [calibrated_log_loss(np.array(margins[head])) for head in sorted(margins)]


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
        losses = bradley_terry(chosen, rejected, 1.0 - config.flip_rate)
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
