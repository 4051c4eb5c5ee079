"""Policies side by side on held-out prompts: reward by the trained and by the gold model, and drift."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from guerdon_service.core.statistics.bootstrap import clustered_bootstrap
from guerdon_service.core.statistics.clustered import clustered_rate
from guerdon_training.pipeline.config import CompareConfig, PipelineConfig
from guerdon_training.policy.config import PolicyLora
from guerdon_training.policy.load import load_policy, load_tokenizer
from guerdon_training.ppo.actor_critic import ActorCritic
from guerdon_training.ppo.local_reward import LocalReward, open_local_reward
from guerdon_training.ppo.losses import kl_k1, kl_k3
from guerdon_training.ppo.prompts import Prompt, read_prompts
from guerdon_training.ppo.rollout import Rollout, evaluate_episodes, roll_out, row_seed

COMPARISON, RESPONSES = "comparison.json", "responses.jsonl"
REFERENCE = "sft"
POLICIES = (REFERENCE, "dpo", "ppo")


@dataclass(frozen=True, slots=True)
class Answer:
    """One policy's response to one prompt.

    prompt: its number. kl, kl_k3: nats from the reference, over the response. finished: it ended by itself.
    rewards: by judge, ``proxy`` and ``gold`` with the profile that PPO trains on, ``gold/PROFILE`` beside.
    """

    policy: str
    prompt: int
    source: str
    response: str
    tokens: int
    finished: bool
    kl: float
    kl_k3: float
    rewards: Mapping[str, float]


def compare_policies(config: PipelineConfig, folder: Path) -> None:
    """Write ``responses.jsonl``, an `Answer` a line, and ``comparison.json``: their `summary`, and whether
    gold chose PPO's update.
    """
    torch.set_num_threads(config.ppo.optim.num_threads)
    root = Path(config.output)
    tokenizer = load_tokenizer(root / REFERENCE)
    compare = config.compare
    prompts = read_prompts(
        Path(compare.prompts),
        tokenizer,
        max_tokens=compare.max_prompt_tokens,
        sources=compare.sources,
        limit=compare.num_prompts,
        seed=compare.seed,
    )
    judges = _judges(config)
    reference = ActorCritic(load_policy(root / REFERENCE, PolicyLora(), config.seed), None)
    answers: list[Answer] = []
    for name in tqdm(POLICIES, desc="compare", unit="policy", disable=None):
        policy = load_policy(root / name, PolicyLora(), config.seed)
        answers += _answers(name, ActorCritic(policy, None), reference, tokenizer, prompts, judges, compare)
    lines = "".join(json.dumps(asdict(a), ensure_ascii=False) + "\n" for a in answers)
    (folder / RESPONSES).write_text(lines, "utf-8")
    comparison = summary(answers) | {"kept_by_gold": config.ppo.keep == "best"}
    (folder / COMPARISON).write_text(json.dumps(comparison, indent=1) + "\n", "utf-8")


def summary(answers: Sequence[Answer]) -> dict[str, Any]:
    """``{"num_prompts", "policies": {policy: figures}}``.

    Each judge's figure is the mean reward, and its difference to the reference on the same prompts; intervals
    are 95 %, over prompts: a bootstrap of means, Wilson's of ``finished``, which is a rate.
    """
    by_policy = {
        name: [a for a in answers if a.policy == name] for name in dict.fromkeys(a.policy for a in answers)
    }
    base = by_policy[REFERENCE]
    return {
        "num_prompts": len(base),
        "policies": {name: _figures(found, base) for name, found in by_policy.items()},
    }


def _figures(found: Sequence[Answer], base: Sequence[Answer]) -> dict[str, Any]:
    prompts = [a.prompt for a in found]
    rewards = {}
    for judge in found[0].rewards:
        values, before = (np.array([a.rewards[judge] for a in group]) for group in (found, base))
        rewards[judge] = {
            "mean": asdict(clustered_bootstrap(values, prompts)),
            "over_reference": asdict(clustered_bootstrap(values - before, prompts)),
        }
    return {
        "rewards": rewards,
        **{
            name: asdict(clustered_bootstrap(np.array([float(getattr(a, name)) for a in found]), prompts))
            for name in ("kl", "kl_k3", "tokens")
        },
        "finished": asdict(clustered_rate([float(a.finished) for a in found], prompts)),
        "distinct": len({a.response for a in found}) / len(found),
    }


def _judges(config: PipelineConfig) -> dict[str, LocalReward]:
    device, profile = torch.device("cpu"), config.ppo.reward.profile or None
    proxy = open_local_reward(Path(config.reward.output), profile, device)
    gold = open_local_reward(Path(config.gold.output), profile, device)
    others = [p for p in config.compare.profiles if p != gold.profile_name]
    named = {f"gold/{p}": replace(gold, profile_name=p, profile=gold.manifest.profile(p)[1]) for p in others}
    return {"proxy": proxy, "gold": gold, **named}


@torch.no_grad()
def _answers(
    name: str,
    policy: ActorCritic,
    reference: ActorCritic,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    judges: Mapping[str, LocalReward],
    config: CompareConfig,
) -> list[Answer]:
    seeds = [row_seed(config.seed, 0, i) for i in range(len(prompts))]
    rollout: Rollout = roll_out(policy.policy, tokenizer, prompts, seeds, config.rollout)
    own, base = (
        evaluate_episodes(model, rollout, config.temperature, config.max_row_tokens).logprobs
        for model in (policy, reference)
    )
    k1, k3 = (estimate(own, base).mul(rollout.mask).sum(1) for estimate in (kl_k1, kl_k3))
    scores = {judge: source.score(rollout.conversations) for judge, source in judges.items()}
    return [
        Answer(
            policy=name,
            prompt=i,
            source=prompt.source,
            response=rollout.conversations[i].response,
            tokens=int(rollout.mask[i].sum()),
            finished=bool(rollout.finished[i]),
            kl=float(k1[i]),
            kl_k3=float(k3[i]),
            rewards={j: config.unscorable if (s := found[i]) is None else s for j, found in scores.items()},
        )
        for i, prompt in enumerate(prompts)
    ]
