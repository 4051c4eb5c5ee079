"""Which configs no run could use."""

from dataclasses import fields
from math import inf, isfinite
from pathlib import Path

from guerdon_service.core.manifest import MIN_TOKENS
from guerdon_training.policy.implicit_reward import FILE as IMPLICIT_REWARD
from guerdon_training.ppo.config import (
    ALGORITHMS,
    KEEPS,
    MISSING_EOS,
    KlConfig,
    PpoConfig,
    PpoOptim,
    ScoreRule,
    ScoreSource,
)
from guerdon_training.problems import refuse_first


def check_ppo(config: PpoConfig) -> None:
    """Refuse values that no run could use, and settings that would be ignored.

    Raises:
        InvalidInput: the key is named.
    """
    rollout, optim, kl, scores = config.rollout, config.optim, config.kl, config.scores
    batch = rollout.prompts_per_update * rollout.samples_per_prompt
    problems = {
        f"algorithm must be one of {', '.join(ALGORITHMS)}": config.algorithm not in ALGORITHMS,
        "rollout.prompts_per_update must be at least 1": rollout.prompts_per_update < 1,
        "rollout.samples_per_prompt must be at least 1": rollout.samples_per_prompt < 1,
        "rollout.samples_per_prompt must be at least 2 for rloo: the other samples are its baseline": (
            config.algorithm == "rloo" and rollout.samples_per_prompt < 2
        ),
        "rollout.max_response_tokens must be at least 1": rollout.max_response_tokens < 1,
        f"rollout.max_prompt_tokens and max_response_tokens must be at least {MIN_TOKENS} together": (
            rollout.max_prompt_tokens + rollout.max_response_tokens < MIN_TOKENS
        ),
        "rollout.temperature must be above 0": not rollout.temperature > 0,
        "rollout.top_p must be in (0, 1]": not 0 < rollout.top_p <= 1,
        "rollout.batch_size must be at least 1": rollout.batch_size < 1,
        "optim.updates must be at least 1": optim.updates < 1,
        "optim.epochs must be at least 1": optim.epochs < 1,
        f"optim.minibatches must be between 1 and {batch}, the responses of an update": (
            not 1 <= optim.minibatches <= batch
        ),
        "optim.learning_rate must be above 0": not optim.learning_rate > 0,
        "optim.value_learning_rate must be at least 0": not optim.value_learning_rate >= 0,
        "optim.adam_eps must be above 0": not optim.adam_eps > 0,
        "optim.max_grad_norm must be above 0": not optim.max_grad_norm > 0,
        "optim.clip must be above 0": not optim.clip > 0,
        "optim.value_clip must be above 0": not optim.value_clip > 0,
        "optim.value_weight must be at least 0": not optim.value_weight >= 0,
        "optim.gamma must be in (0, 1]": not 0 < optim.gamma <= 1,
        "optim.lam must be in [0, 1]": not 0 <= optim.lam <= 1,
        "optim.max_row_tokens must be at least 1": optim.max_row_tokens < 1,
        "optim.num_threads must be at least 1": optim.num_threads < 1,
        "kl.stop must be at least 0": not kl.stop >= 0,
        "eval_every must be at least 0": config.eval_every < 0,
        "kl.coefficient must be at least 0": not kl.coefficient >= 0,
        "kl.target must be at least 0": not kl.target >= 0,
        "kl.horizon must be at least 1": kl.horizon < 1,
        "kl.coefficient must be above 0 with kl.target, which moves it by a factor": (
            kl.target > 0 and kl.coefficient == 0
        ),
        "kl.horizon is of kl.target, which is 0; give a target, or leave it out": (
            kl.target == 0 and kl.horizon != KlConfig().horizon
        ),
        f"scores.missing_eos must be one of {', '.join(MISSING_EOS)}": scores.missing_eos not in MISSING_EOS,
        "scores.missing_eos_penalty must be at least 0, and finite": (
            not 0 <= scores.missing_eos_penalty < inf
        ),
        "scores.missing_eos_penalty is not used where scores.missing_eos is keep; leave it out": (
            scores.missing_eos == "keep" and scores.missing_eos_penalty != ScoreRule().missing_eos_penalty
        ),
        "scores.unscorable must be finite": not isfinite(scores.unscorable),
        "scores.normalise_samples must be 0 or at least 2": scores.normalise_samples == 1,
        "save_every must be at least 1": config.save_every < 1,
        f"keep must be one of {', '.join(KEEPS)}": config.keep not in KEEPS,
        "eval_every and keep = best need data.valid": (
            not config.data.valid and (config.eval_every > 0 or config.keep == "best")
        ),
        "gold is for evaluations; give data.valid with it": config.gold.given and not config.data.valid,
    }
    problems |= _unused_by_rloo(config)
    problems |= _source_problems("reward", config.reward, required=True)
    problems |= _source_problems("gold", config.gold, required=False)
    refuse_first(problems)


def _unused_by_rloo(config: PpoConfig) -> dict[str, bool]:
    names = ("gamma", "lam", "value_learning_rate", "value_clip", "value_weight")
    unused = {
        f"optim.{f.name}": (f.default, getattr(config.optim, f.name))
        for f in fields(PpoOptim)
        if f.name in names
    }
    unused["scores.whiten"] = (False, config.scores.whiten)
    return {
        f"{key} is of the critic and of token rewards, and rloo has neither; "
        f"leave it out, or set {str(default).lower()}": config.algorithm == "rloo" and given != default
        for key, (default, given) in unused.items()
    }


def _source_problems(name: str, source: ScoreSource, *, required: bool) -> dict[str, bool]:
    one = source.artifacts[0] if len(source.artifacts) == 1 else ""
    is_policy = bool(one) and (Path(one) / IMPLICIT_REWARD).is_file()
    return {
        f"{name} must give artifacts or url": required and not source.given,
        f"{name} must give either artifacts or url, not both": bool(source.artifacts and source.url),
        f"{name}.model goes with {name}.url": bool(source.model and not source.url),
        f"{name}.conservatism must be at least 0": not source.conservatism >= 0,
        f"{name}.conservatism goes with {name}.artifacts; a service keeps it in its own settings": bool(
            source.conservatism and source.url
        ),
        f"{name}.conservatism weighs how far several artifacts disagree; leave it out, or set 0.0": bool(
            source.conservatism and one
        ),
        f'{name}.profile is of a reward model, and {one} is a policy; leave it out, or set ""': bool(
            source.profile and is_policy
        ),
    }
