"""The optimisation of the reward recipe: an objective on the upper layers, averaged weights."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import mean
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import tqdm

from guerdon_training.average import MovingAverage
from guerdon_training.config import RewardConfig
from guerdon_training.learner import build_learner
from guerdon_training.policy.metrics import MetricsLog
from guerdon_training.ppo.checkpoint import CHECKPOINT, load_state, save_state
from guerdon_training.rows import Rows
from guerdon_training.sharded import (
    clip_norm,
    mean_gradients,
    part_as,
    restore_optimizer,
    whole,
    whole_on_cpu,
    whole_optimizer,
)
from guerdon_training.steps import epoch_steps
from guerdon_training.trunk import SplitEncoder

SCALAR_RATE = 0.05
"""Learning rate of the objective's own few numbers. They start from a guess; at the model's rate they would
hardly move within a run."""

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
    model: nn.Module,
    encoder: SplitEncoder,
    train: Rows,
    valid: Rows,
    config: RewardConfig,
    seed: int,
    run: Path,
    identity: str,
    accelerator: Accelerator,
) -> Fitted:
    """Train; give the averaged weights of the epoch with the lowest log loss on `valid`, to the main process.

    Dropout is off throughout (Huang et al., "The N implementation details of RLHF with PPO", 2023). Goes on
    after the last epoch that the checkpoint in `run` holds, to the same weights as without a break.

    Args:
        seed: of the order of the data; the model's start is the caller's.
        run: folder for the checkpoint and ``metrics.jsonl``.
        identity: see `run_identity`; a checkpoint of another run is refused.
        accelerator: its processes share each step; one of them writes.

    Raises:
        InvalidInput: the checkpoint is another run's, or damaged.
        GuerdonError: the loss is not finite, or the checkpoint cannot be written; the last one stays.
    """
    model.eval()
    optim, learner = config.optim, build_learner(encoder, train, config, accelerator)
    is_main = accelerator.is_main_process
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    scalars = learner.objective.parameters
    parameters = [*named.values(), *scalars]
    random = Random(seed)  # noqa: S311 - a repeatable order, not a secret
    plan = [
        list(epoch_steps(train, optim.pairs_per_step, optim.max_batch_tokens, random))
        for _ in range(optim.epochs)
    ]
    groups: list[dict[str, Any]] = [
        {"params": list(named.values())},
        {"params": scalars, "lr": SCALAR_RATE, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=optim.learning_rate, weight_decay=optim.weight_decay)
    schedule = _schedule(optimizer, sum(map(len, plan)), optim.warmup_share)
    average = MovingAverage(parameters, optim.ema_decay)
    states = encoder.lower(train.tokens, optim.max_batch_tokens, "frozen layers, train")
    valid_states = encoder.lower(valid.tokens, optim.max_batch_tokens, "frozen layers, valid")
    best, best_loss = Fitted(State(), torch.ones(learner.layout.num_attributes)), float("inf")
    run.mkdir(parents=True, exist_ok=True)
    saved, done = load_state(run / CHECKPOINT, identity), 0
    if saved is not None:
        done, best, best_loss = saved["done"], Fitted(saved["best"], saved["nu"]), saved["best_loss"]
        _restore(parameters, optimizer, schedule, average, saved)
    log = MetricsLog(run / "metrics.jsonl", is_writer=is_main, num_epochs=done)
    for number, steps in enumerate(plan[done:], start=done + 1):
        title = f"epoch {number}/{optim.epochs}"
        with tqdm(steps, title, unit="step", disable=None if is_main else True) as progress:
            for step in progress:
                loss = learner.backward(states, step)
                mean_gradients(accelerator, parameters)
                norm = clip_norm(accelerator, parameters, optim.max_grad_norm)
                rate = float(schedule.get_last_lr()[0])
                log.write(number, {"loss": loss, "gradient_norm": norm, "learning_rate": rate})
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
                average.update()
                progress.set_postfix(loss=f"{loss:.3f}")
        average.swap()
        losses = learner.log_losses(valid_states, valid, optim.max_batch_tokens)
        if is_main:
            told = f"epoch {number}, log loss of each head on valid: {[round(x, 4) for x in losses]}"
            tqdm.write(told, file=sys.stderr)
        averaged = {name: value.clone() for name, value in whole_on_cpu(named, kept=is_main).items()}
        if mean(losses) < best_loss:
            best, best_loss = Fitted(averaged, learner.objective.log_nu.detach().exp()), mean(losses)
        average.swap()
        heads = (head.name for head in config.heads)
        log.write(number, {f"valid/log_loss/{h}": loss for h, loss in zip(heads, losses, strict=True)})
        state = {
            "identity": identity,
            "done": number,
            "best": best.state,
            "nu": best.nu,
            "best_loss": best_loss,
            "parameters": [value for value in map(whole, parameters) if is_main],
            "optimizer": whole_optimizer(optimizer, kept=is_main),
            "schedule": schedule.state_dict(),
            "average": average.state(kept=is_main),
        }
        if is_main:
            save_state(run / CHECKPOINT, state)
    return best


@torch.no_grad()
def _restore(
    parameters: Sequence[Tensor],
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    average: MovingAverage,
    saved: Mapping[str, Any],
) -> None:
    for parameter, value in zip(parameters, saved["parameters"], strict=True):
        parameter.copy_(part_as(parameter, value))
    restore_optimizer(optimizer, saved["optimizer"])
    schedule.load_state_dict(saved["schedule"])
    average.restore(saved["average"])


def _schedule(
    optimizer: torch.optim.Optimizer, num_steps: int, warmup_share: float
) -> torch.optim.lr_scheduler.LambdaLR:
    """Linear warm-up over a share of the steps, then linear decay to zero."""
    warmup = max(1.0, warmup_share * num_steps)
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, max(0.0, 1.0 - step / num_steps))
    )
