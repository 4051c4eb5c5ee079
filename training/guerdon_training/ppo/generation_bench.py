"""What PPO's rollouts cost, beside `generate` of transformers called one prompt at a time.

``python -m guerdon_training.ppo.generation_bench CONFIG NUM_PROMPTS ROUNDS [KEY=VALUE ...]`` where the
config's paths start. Both sides sample from the same policy, adapters included, for the same prompts,
alternating; CPU time counts, because others may use the machine.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from guerdon_training.config_file import read_config
from guerdon_training.ppo.config import PpoConfig, RolloutConfig
from guerdon_training.ppo.models import Networks, build_networks
from guerdon_training.ppo.prompts import Prompt, read_prompts
from guerdon_training.ppo.rollout import end_tokens, roll_out, row_seed


@dataclass(frozen=True, slots=True)
class Round:
    """Sampled tokens, EOS included, per second of CPU time and of wall time."""

    cpu: float
    wall: float


@dataclass(frozen=True, slots=True)
class GenerationSpeed:
    """Rounds side by side. ours: `by_rollout`. plain: `by_generate`."""

    ours: tuple[Round, ...]
    plain: tuple[Round, ...]

    @property
    def ratios(self) -> list[float]:
        """Ours over plain by CPU time, a round each."""
        return [a.cpu / b.cpu for a, b in zip(self.ours, self.plain, strict=True)]


def measure_generation(config: PpoConfig, num_prompts: int, rounds: int) -> GenerationSpeed:
    """Alternate the two over the first prompts of ``data.train``; the first call of each is not counted."""
    torch.set_num_threads(config.optim.num_threads)
    networks = build_networks(config)
    prompts = read_prompts(
        Path(config.data.train),
        networks.tokenizer,
        max_tokens=config.rollout.max_prompt_tokens,
        sources=config.data.sources,
        limit=num_prompts,
        seed=config.seed,
    )
    by_rollout(networks, prompts[:1], config.rollout, 0)
    by_generate(networks, prompts[:1], config.rollout, 0)
    sides = (
        partial(by_rollout, networks, prompts, config.rollout),
        partial(by_generate, networks, prompts, config.rollout),
    )
    ours, plain = zip(
        *([_timed(partial(side, r)) for side in sides] for r in range(1, rounds + 1)), strict=True
    )
    return GenerationSpeed(ours, plain)


def _timed(sample: Callable[[], int]) -> Round:
    cpu, wall = time.process_time(), time.perf_counter()
    num_tokens = sample()
    return Round(num_tokens / (time.process_time() - cpu), num_tokens / (time.perf_counter() - wall))


def by_rollout(networks: Networks, prompts: Sequence[Prompt], config: RolloutConfig, seed: int) -> int:
    """Sample a response a prompt as PPO does; how many tokens they have."""
    seeds = [row_seed(seed, 0, row) for row in range(len(prompts))]
    rollout = roll_out(networks.learner.policy, networks.tokenizer, prompts, seeds, config)
    return int(rollout.mask.sum())


@torch.no_grad()
def by_generate(networks: Networks, prompts: Sequence[Prompt], config: RolloutConfig, seed: int) -> int:
    """The same by `generate`, one prompt at a time."""
    torch.manual_seed(seed)
    policy: Any = networks.learner.policy
    ends = end_tokens(policy, networks.tokenizer)
    num_tokens = 0
    for prompt in prompts:
        ids = torch.tensor([prompt.ids])
        found = policy.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=True,
            temperature=config.temperature,
            top_p=config.top_p,
            top_k=0,
            max_new_tokens=config.max_response_tokens,
            eos_token_id=list(ends),
            pad_token_id=ends[0],
        )
        num_tokens += found.shape[1] - len(prompt.ids)
    return num_tokens


def _line(name: str, rounds: Sequence[Round]) -> str:
    return (
        f"{name}: {median(r.cpu for r in rounds):.1f} tokens per CPU second, "
        f"{median(r.wall for r in rounds):.1f} per second"
    )


if __name__ == "__main__":
    found = measure_generation(
        read_config(Path(sys.argv[1]), PpoConfig, sys.argv[4:]), int(sys.argv[2]), int(sys.argv[3])
    )
    sys.stdout.write(f"{_line('rollout', found.ours)}\n{_line('generate', found.plain)}\n")
    ratios = found.ratios
    sys.stdout.write(f"{median(ratios):.2f} times [{min(ratios):.2f}, {max(ratios):.2f}] by CPU time\n")
