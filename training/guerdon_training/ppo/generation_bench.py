"""What PPO's rollouts cost, beside `generate` of transformers called one prompt at a time.

``python -m guerdon_training.ppo.generation_bench CONFIG NUM_PROMPTS ROUNDS [KEY=VALUE ...]`` where the
config's paths start. Both sides sample from the same policy, adapters included, for the same prompts,
alternating; CPU time counts, because others may use the machine.
"""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from guerdon_training.alternate import Speeds, alternate
from guerdon_training.config_file import read_config
from guerdon_training.ppo.config import PpoConfig, RolloutConfig
from guerdon_training.ppo.models import Networks, build_networks
from guerdon_training.ppo.prompts import Prompt, read_prompts
from guerdon_training.ppo.rollout import end_tokens, roll_out, row_seed


def measure_generation(config: PpoConfig, num_prompts: int, rounds: int) -> Speeds:
    """Tokens sampled, EOS included, by `by_rollout` and `by_generate` for prompts of ``data.train``.

    The first call of each is not counted.
    """
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
    return alternate(
        lambda number: partial(by_rollout, networks, prompts, config.rollout, number),
        lambda number: partial(by_generate, networks, prompts, config.rollout, number),
        rounds,
    )


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


if __name__ == "__main__":
    read = read_config(Path(sys.argv[1]), PpoConfig, sys.argv[4:])
    speeds = measure_generation(read, int(sys.argv[2]), int(sys.argv[3]))
    sys.stdout.write(speeds.text("rollout", "generate", "tokens"))
