"""The state of a run: where it stands, how it begins, how it is saved and found again."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from accelerate import Accelerator

from guerdon_service.core.manifest import Norm
from guerdon_training.ppo.checkpoint import (
    CHECKPOINT,
    load_state,
    save_state,
    trained_parameters,
    trained_state,
)
from guerdon_training.ppo.config import PpoConfig
from guerdon_training.ppo.evaluate import evaluate_policy
from guerdon_training.ppo.kl import KlController
from guerdon_training.ppo.models import Networks
from guerdon_training.ppo.prompts import Prompt
from guerdon_training.ppo.reward_source import RewardSource
from guerdon_training.sharded import load_whole, restore_optimizer, whole_optimizer

BEST = "best.pt"
"""Weights of the best evaluation, with what `Progress` says of it: newer than the checkpoint where a run was
stopped between them, and the one that is published where none is better."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a run works on. identity: see `run_identity`. run: checkpoint and log."""

    config: PpoConfig
    networks: Networks
    train: list[Prompt]
    valid: list[Prompt]
    reward: RewardSource
    gold: RewardSource | None
    identity: str
    run: Path


@dataclass(frozen=True, slots=True)
class Progress:
    """What changes from update to update, weights and optimiser aside.

    done: updates. best: highest evaluation so far of a policy that is not too far from the reference;
    best_update: the update it came after. gold_lowest: of gold's scores before the first update; -inf where
    it refused all.
    """

    kl: KlController
    norm: Norm
    done: int = 0
    best: float = float("-inf")
    best_update: int = 0
    gold_lowest: float = float("-inf")


def resume(job: Job, optimizer: torch.optim.Optimizer) -> Progress | None:
    """Load the last checkpoint into the learner and the optimiser; None where there is none.

    Raises:
        InvalidInput: it is of another run, or damaged.
    """
    state = load_state(job.run / CHECKPOINT, job.identity)
    if state is None:
        return None
    _load(job, state["learner"])
    restore_optimizer(optimizer, state["optimizer"])
    best = load_state(job.run / BEST, job.identity) if job.config.keep == "best" else None
    stored = state["progress"] | (best or {}).get("progress", {})
    return Progress(**stored | {"kl": KlController(**stored["kl"]), "norm": Norm(**stored["norm"])})


def save(accelerator: Accelerator, job: Job, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Replace the checkpoint, by one process; a collective operation.

    Raises:
        GuerdonError: it could not be written; the old one is intact.
    """
    is_main = accelerator.is_main_process
    state = {
        "identity": job.identity,
        "progress": asdict(progress),
        "learner": trained_state(job.networks.learner, kept=is_main),
        "optimizer": whole_optimizer(optimizer, kept=is_main),
    }
    if is_main:
        save_state(job.run / CHECKPOINT, state)


def evaluated(
    accelerator: Accelerator, job: Job, progress: Progress, *, ends: bool
) -> tuple[Progress, Mapping[str, float]]:
    """Figures on the valid prompts where the config asks for them now; the best weights so far are kept.

    Weights whose ``valid/kl`` reaches `kl.stop` are never the best: what ends the training is not published.

    ends: whether this is before the first update or after the last, where they are always wanted.
    """
    every, done = job.config.eval_every, progress.done
    if not job.valid or not (ends or (every > 0 and done % every == 0)):
        return progress, {}
    figures = evaluate_policy(accelerator, job.networks, job.valid, job.reward, job.gold, job.config)
    is_first = done == 0  # kept even where the reward refuses every response: `restore_best` needs one
    if is_first:
        progress = replace(progress, gold_lowest=figures.get("valid/gold_lowest", float("-inf")))
    reached = _reached(figures, progress, job)
    stop = job.config.kl.stop
    too_far = 0.0 < stop <= figures["valid/kl"]
    if (is_first or reached > progress.best) and not too_far:
        progress = replace(progress, best=reached, best_update=done)
        if job.config.keep == "best":
            is_main = accelerator.is_main_process
            weights = trained_state(job.networks.learner, kept=is_main)
            if is_main:
                told = {"best": reached, "best_update": done}
                save_state(job.run / BEST, {"identity": job.identity, "progress": told, "learner": weights})
    return progress, figures


def _reached(figures: Mapping[str, float], progress: Progress, job: Job) -> float:
    """The mean over every valid prompt; what is refused counts too, or silence would pay.

    The reward that trains counts it as training does. Gold has a scale of its own: there it counts as the
    lowest score before the first update, so that silence is never better than what was said to a prompt then.
    """
    norm = progress.norm
    name, refused = "valid/gold", progress.gold_lowest
    if job.gold is None:
        name, refused = "valid/score", norm.mean + norm.std * job.config.scores.unscorable
    share = figures[f"{name}_refused"] / len(job.valid)
    if share == 0.0:
        return figures[name]
    return figures.get(name, 0.0) * (1.0 - share) + refused * share  # no mean where all are refused


def restore_best(job: Job) -> None:
    """Put the weights of the best evaluation into the learner."""
    state = load_state(job.run / BEST, job.identity)
    assert state is not None, "the evaluation before the first update writes it"
    _load(job, state["learner"])


def _load(job: Job, weights: Mapping[str, torch.Tensor]) -> None:
    learner = job.networks.learner
    load_whole(trained_parameters(learner), weights, learner)
