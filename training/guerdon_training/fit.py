"""The optimisation of the reward recipe: an objective on the upper layers, averaged weights."""

from dataclasses import dataclass
from random import Random
from statistics import mean

import torch
from torch import Tensor, nn
from tqdm import tqdm

from guerdon_training.average import MovingAverage
from guerdon_training.config import RewardConfig
from guerdon_training.learner import build_learner
from guerdon_training.rows import Rows
from guerdon_training.steps import epoch_steps
from guerdon_training.trunk import SplitEncoder

State = dict[str, Tensor]
"""Trained parameters by name."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a run leaves.

    state: averaged weights of the best epoch. nu: float [A], Davidson's, of that epoch.
    """

    state: State
    nu: Tensor


def fit(
    model: nn.Module, encoder: SplitEncoder, train: Rows, valid: Rows, config: RewardConfig, seed: int
) -> Fitted:
    """Train; give the averaged weights of the epoch with the lowest log loss on `valid`.

    Dropout is off throughout (Huang et al., "The N implementation details of RLHF with PPO", 2023).

    Args:
        seed: of the order of the data; the model's start is the caller's.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    model.eval()
    optim, learner = config.optim, build_learner(model, encoder, train, config)
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    parameters = [*named.values(), *learner.objective.parameters]
    random = Random(seed)  # noqa: S311 - a repeatable order, not a secret
    plan = [
        list(epoch_steps(train, optim.pairs_per_step, optim.max_batch_tokens, random))
        for _ in range(optim.epochs)
    ]
    optimizer = torch.optim.AdamW(parameters, lr=optim.learning_rate, weight_decay=optim.weight_decay)
    schedule = _schedule(optimizer, sum(map(len, plan)), optim.warmup_share)
    average = MovingAverage(parameters, optim.ema_decay)
    states = encoder.lower(train.tokens, optim.max_batch_tokens, "frozen layers, train")
    valid_states = encoder.lower(valid.tokens, optim.max_batch_tokens, "frozen layers, valid")
    best, best_loss = Fitted(State(), torch.ones(learner.layout.num_attributes)), float("inf")
    for number, steps in enumerate(plan, start=1):
        with tqdm(steps, desc=f"epoch {number}/{optim.epochs}", unit="step") as progress:
            for step in progress:
                loss = learner.backward(states, step)
                nn.utils.clip_grad_norm_(parameters, optim.max_grad_norm)
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
                average.update()
                progress.set_postfix(loss=f"{loss:.3f}")
        average.swap()
        losses = learner.log_losses(valid_states, valid, optim.max_batch_tokens)
        tqdm.write(f"epoch {number}, log loss of each head on valid: {[round(x, 4) for x in losses]}")
        if mean(losses) < best_loss:
            best, best_loss = Fitted(_copy(named), learner.objective.log_nu.detach().exp()), mean(losses)
        average.swap()
    return best


def _copy(named: dict[str, nn.Parameter]) -> State:
    return {name: p.detach().clone() for name, p in named.items()}


def _schedule(
    optimizer: torch.optim.Optimizer, num_steps: int, warmup_share: float
) -> torch.optim.lr_scheduler.LambdaLR:
    """Linear warm-up over a share of the steps, then linear decay to zero."""
    warmup = max(1.0, warmup_share * num_steps)
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, max(0.0, 1.0 - step / num_steps))
    )
