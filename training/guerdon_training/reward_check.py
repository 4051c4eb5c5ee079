"""Which configs of the reward recipe no run could use."""

from math import isfinite

from guerdon_service.core.manifest import MIN_TOKENS
from guerdon_training.config import RewardConfig
from guerdon_training.convex import check_convex
from guerdon_training.directions import OF_PROFILES
from guerdon_training.model import check_pooling
from guerdon_training.objective_config import check_objective
from guerdon_training.problems import refuse_first


def check_reward(config: RewardConfig) -> None:
    """Refuse values that no run could use, before any data is read.

    Raises:
        InvalidInput: the key is named.
    """
    optim, lora = config.optim, config.lora
    names = [head.name for head in config.heads]
    strangers = sorted({w for weights in config.profiles.values() for w in weights} - set(names))
    problems = {
        "heads must name at least one head": not names,
        "heads must have different names": len(set(names)) < len(names),
        f"heads must be named none of {', '.join(OF_PROFILES)}, by which metrics name other things": bool(
            {*names} & {*OF_PROFILES}
        ),
        "profiles must hold at least one profile; give weights by head": not config.profiles,
        f"profiles weigh {', '.join(strangers)}, which heads lacks; it has {', '.join(names)}": bool(
            strangers
        ),
        "profiles must each weigh a head other than 0, all of them finite": not all(
            any(weights.values()) and all(map(isfinite, weights.values()))
            for weights in config.profiles.values()
        ),
        f"max_tokens must be at least {MIN_TOKENS}": config.max_tokens < MIN_TOKENS,
        "base.num_layers must be at least 0": config.base.num_layers < 0,
        "lora.rank must be at least 1": lora.rank < 1,
        "lora.alpha must be at least 1": lora.alpha < 1,
        "optim.epochs must be at least 1": optim.epochs < 1,
        "optim.learning_rate must be above 0": not optim.learning_rate > 0,
        "optim.pairs_per_step must be at least 1": optim.pairs_per_step < 1,
        "optim.weight_decay must be at least 0": not optim.weight_decay >= 0,
        "optim.warmup_share must be in [0, 1)": not 0 <= optim.warmup_share < 1,
        "optim.max_grad_norm must be above 0": not optim.max_grad_norm > 0,
        "optim.centring must be at least 0": not optim.centring >= 0,
        "optim.ema_decay must be in [0, 1)": not 0 <= optim.ema_decay < 1,
        "optim.max_batch_tokens must be at least 1": optim.max_batch_tokens < 1,
        "optim.num_threads must be at least 1": optim.num_threads < 1,
    }
    refuse_first(problems)
    check_pooling(config.pooling)
    check_objective(config.objective, config.ensemble, config.length, optim.flip_rate)
    check_convex(config)
