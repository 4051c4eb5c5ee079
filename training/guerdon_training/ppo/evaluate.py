"""How the policy does on held-out prompts, by the reward it trains on and by one it never sees."""

from collections.abc import Sequence

from guerdon_training.ppo.config import PpoConfig
from guerdon_training.ppo.losses import kl_k1, kl_k3
from guerdon_training.ppo.models import Networks
from guerdon_training.ppo.prompts import Prompt
from guerdon_training.ppo.reward_source import RewardSource
from guerdon_training.ppo.rollout import evaluate_episodes, roll_out, row_seed


def evaluate_policy(
    networks: Networks,
    prompts: Sequence[Prompt],
    reward: RewardSource,
    gold: RewardSource | None,
    config: PpoConfig,
) -> dict[str, float]:
    """One response a prompt, with the same noise each time, so that evaluations differ by the policy alone.

    Scores are the reward model's own, before normalisation and EOS trick; what it refuses is left out and
    counted. KL is in nats per response.
    """
    seeds = [row_seed(config.seed, -1, i) for i in range(len(prompts))]  # no update is number -1
    rollout = roll_out(networks.learner.policy, networks.tokenizer, prompts, seeds, config.rollout)
    budget, temperature = config.optim.max_row_tokens, config.rollout.temperature
    sampled = evaluate_episodes(networks.learner, rollout, temperature, budget)
    with networks.as_reference():
        reference = evaluate_episodes(networks.reference, rollout, temperature, budget)
    scored = {"score": reward.score(rollout.conversations)}
    if gold is not None:
        scored["gold"] = gold.score(rollout.conversations)
    figures = {
        "kl": float(kl_k1(sampled.logprobs, reference.logprobs).mul(rollout.mask).sum(1).mean()),
        "kl_k3": float(kl_k3(sampled.logprobs, reference.logprobs).mul(rollout.mask).sum(1).mean()),
        "length": float(rollout.mask.sum(1).mean()),
        "eos_rate": float(rollout.finished.float().mean()),
    }
    for name, raw in scored.items():
        known = [s for s in raw if s is not None]
        figures[name] = sum(known) / len(known) if known else float("-inf")
        figures[f"{name}_refused"] = float(len(raw) - len(known))
    return {f"valid/{name}": value for name, value in figures.items()}
