"""What all processes do with one batch of prompts: each does its share, then every one has the whole."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from guerdon_training.distributed import shares
from guerdon_training.ppo.actor_critic import ActorCritic, Evaluated
from guerdon_training.ppo.config import PpoConfig
from guerdon_training.ppo.models import Networks
from guerdon_training.ppo.prompts import Prompt
from guerdon_training.ppo.reward_source import RewardSource
from guerdon_training.ppo.rollout import Rollout, evaluate_rows, filled, roll_out
from guerdon_training.sharded import gathered

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Scored:
    """B episodes, and what each reward source says of them; None where it refuses one."""

    rollout: Rollout
    scores: tuple[tuple[float | None, ...], ...]


def roll_out_together(
    accelerator: Accelerator,
    networks: Networks,
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
    sources: Sequence[RewardSource],
    config: PpoConfig,
) -> Scored:
    """One response per prompt and seed, in their order: those that one process would sample.

    The policy is gathered, for processes end at different tokens: they would wait for each other's weights
    for ever.
    """
    every = range(len(prompts))
    mine = [i for i, _ in shares(every, accelerator.process_index, accelerator.num_processes)]
    policy = networks.learner.policy
    with gathered(policy):
        rollout = roll_out(
            policy,
            networks.tokenizer,
            [prompts[i] for i in mine],
            [seeds[i] for i in mine],
            config.rollout,
        )
    scores = tuple(tuple(source.score(rollout.conversations)) for source in sources)
    return _joined(gather_object([Scored(rollout, scores)]), len(prompts))


def evaluate_together(
    accelerator: Accelerator,
    model: ActorCritic,
    rollout: Rollout,
    config: PpoConfig,
    *,
    with_entropy: bool = False,
) -> Evaluated:
    """As `rollout.evaluate_episodes`, of a rollout that all processes have."""
    rows = filled(rollout, config.optim.max_row_tokens)
    mine = shares(rows, accelerator.process_index, accelerator.num_processes)
    found = evaluate_rows(model, rollout, mine, config.rollout.temperature, with_entropy=with_entropy)
    summed: torch.Tensor = accelerator.reduce(torch.stack(found).to(accelerator.device), "sum")
    return Evaluated(*summed.cpu())


def mean_over_processes(accelerator: Accelerator, figures: dict[str, float]) -> dict[str, float]:
    """The same figures on every process, to the last bit, so that all decide alike; float32."""
    values = torch.tensor(list(figures.values()), dtype=torch.float32, device=accelerator.device)
    return dict(zip(figures, accelerator.reduce(values, "mean").tolist(), strict=True))


def _joined(parts: Sequence[Scored], count: int) -> Scored:
    """The first `count` episodes in the order before `shares` dealt them out."""

    def in_order(shared: Sequence[Sequence[T]]) -> list[T]:
        return [shared[i % len(parts)][i // len(parts)] for i in range(count)]

    rollouts = [part.rollout for part in parts]
    return Scored(
        Rollout(
            tuple(in_order([r.conversations for r in rollouts])),
            tuple(in_order([r.examples for r in rollouts])),
            *(
                torch.stack(in_order([list(getattr(r, name)) for r in rollouts]))
                for name in ("mask", "logprobs", "finished")
            ),
        ),
        tuple(tuple(in_order(by_part)) for by_part in zip(*(part.scores for part in parts), strict=True)),
    )
