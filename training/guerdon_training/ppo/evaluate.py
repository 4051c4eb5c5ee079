"""How the policy does on held-out prompts, by the reward it trains on and by one it never sees."""

from collections.abc import Sequence

from accelerate import Accelerator

from guerdon_training.ppo.config import PpoConfig
from guerdon_training.ppo.losses import kl_k1, kl_k3
from guerdon_training.ppo.models import Networks
from guerdon_training.ppo.prompts import Prompt
from guerdon_training.ppo.reward_source import RewardSource
from guerdon_training.ppo.rollout import row_seed
from guerdon_training.ppo.together import evaluate_together, mean_over_processes, roll_out_together


def evaluate_policy(
    accelerator: Accelerator,
    networks: Networks,
    prompts: Sequence[Prompt],
    reward: RewardSource,
    gold: RewardSource | None,
    config: PpoConfig,
) -> dict[str, float]:
    """One response a prompt, with the same noise each time, so that evaluations differ by the policy alone.

    Scores are the reward model's own, before normalisation and EOS trick; what it refuses is left out and
    counted; where it refuses all, there is no score. KL is in nats per response.
    """
    seeds = [row_seed(config.seed, -1, i) for i in range(len(prompts))]  # no update is number -1
    sources = {"score": reward} | ({"gold": gold} if gold is not None else {})
    scored = roll_out_together(accelerator, networks, prompts, seeds, list(sources.values()), config)
    rollout = scored.rollout
    sampled = evaluate_together(accelerator, networks.learner, rollout, config)
    with networks.as_reference():
        reference = evaluate_together(accelerator, networks.reference, rollout, config)
    figures = {
        "kl": float(kl_k1(sampled.logprobs, reference.logprobs).mul(rollout.mask).sum(1).mean()),
        "kl_k3": float(kl_k3(sampled.logprobs, reference.logprobs).mul(rollout.mask).sum(1).mean()),
        "length": float(rollout.mask.sum(1).mean()),
        "eos_rate": float(rollout.finished.float().mean()),
    }
    for name, raw in zip(sources, scored.scores, strict=True):
        known = [s for s in raw if s is not None]
        figures |= {name: sum(known) / len(known), f"{name}_lowest": min(known)} if known else {}
        figures[f"{name}_refused"] = float(len(raw) - len(known))
    return mean_over_processes(accelerator, {f"valid/{name}": value for name, value in figures.items()})
