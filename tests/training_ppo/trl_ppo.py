"""TRL's last PPO trainer, which runs one update on responses that are given to it, and what it makes of them.

`make setup` installs it in a folder of its own: the TRL that everything else here is held beside has no PPO.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from datasets import Dataset  # type: ignore[import-untyped]
from torch import Tensor, nn

from guerdon_training.ppo.config import PpoConfig
from guerdon_training.ppo.models import Networks

FOLDER = Path(sys.prefix) / "trl-1.12"
PAD = 0
"""Id of the pads. No token may have it: TRL reads the ends of prompts and responses off the ids."""


@contextmanager
def trl_ppo() -> Iterator[ModuleType]:
    """TRL 1.12's module of the PPO trainer, in place of the newer TRL for as long as the block runs."""
    assert FOLDER.is_dir(), "make setup installs it"
    newer = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "trl"}
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(str(FOLDER))
            patch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
            patch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
            yield import_module("trl.experimental.ppo.ppo_trainer")
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "trl"]:
            del sys.modules[name]
        sys.modules.update(newer)


class Scored(nn.Module):
    """What TRL takes for a critic and for a reward model: a trunk, and a number of each of its states."""

    base_model_prefix = "trunk"

    def __init__(self, trunk: Any, score: Any) -> None:
        super().__init__()
        self.trunk, self.score = trunk, score


class RunningSum(nn.Module):
    """States that are the sum of one number for each token so far, so that a score depends on all of them."""

    def __init__(self, numbers: Tensor) -> None:
        super().__init__()
        self.numbers = nn.Embedding.from_pretrained(numbers[:, None])

    def forward(self, input_ids: Tensor, **_: Any) -> Any:
        return SimpleNamespace(hidden_states=[self.numbers(input_ids).cumsum(1)])


@dataclass
class Found:
    """What the trainer computed. whitened: what it whitened, the advantages last. figures: what it logged."""

    whitened: list[Tensor] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    policy: Any = None
    critic: Any = None


def one_update(
    networks: Networks,
    queries: Tensor,
    responses: Tensor,
    numbers: Tensor,
    config: PpoConfig,
    orders: Callable[[int], Any],
    folder: Path,
) -> Found:
    """Train copies of the networks for one update.

    Args:
        queries: int64 [B, P], padded on the left. responses: int64 [B, R], padded on the right.
        numbers: float32 [V], of which a text's score is the sum.
        orders: the next order of `n` episodes.
    """
    found = Found()
    with trl_ppo() as trl, pytest.MonkeyPatch.context() as patch:
        patch.setattr(trl, "np", SimpleNamespace(random=SimpleNamespace(permutation=orders)))
        patch.setattr(trl, "masked_var", partial(trl.masked_var, unbiased=False))
        whiten = trl.masked_whiten

        def remember(values: Tensor, mask: Tensor, **how: Any) -> Tensor:
            found.whitened.append(values.clone())
            whitened: Tensor = whiten(values, mask, **how)
            return whitened

        def generation(policy: Any, queries: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
            both = torch.cat([queries, responses], dim=1)
            logits = trl.forward(policy, both, PAD).logits[:, queries.shape[1] - 1 : -1]
            return both, logits / config.rollout.temperature  # as `generate` returns its scores

        patch.setattr(trl, "masked_whiten", remember)
        patch.setattr(trl, "batch_generation", generation)
        trainer = _trainer(trl, networks, numbers, config, len(queries), responses.shape[1], folder)
        trainer.dataloader = [{"input_ids": queries}]
        trainer.train()
        found.figures = trainer.state.log_history[0]
        found.policy, found.critic = trainer.policy_model, trainer.value_model
    return found


def _trainer(
    trl: Any,
    networks: Networks,
    numbers: Tensor,
    config: PpoConfig,
    num_episodes: int,
    num_response_tokens: int,
    folder: Path,
) -> Any:
    optim, learner = config.optim, networks.learner
    assert learner.value is not None and networks.frozen is not None
    policy, reference = deepcopy(learner.policy), deepcopy(networks.frozen.policy)
    critic = Scored(deepcopy(learner.value.trunk), deepcopy(learner.value.head))
    tokenizer = deepcopy(networks.tokenizer)
    tokenizer.pad_token_id = PAD
    args = trl.PPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=num_episodes,  # with several, a step would be taken after the last alone
        num_mini_batches=optim.minibatches,
        num_ppo_epochs=optim.epochs,
        total_episodes=num_episodes,
        response_length=num_response_tokens,
        stop_token="eos",
        missing_eos_penalty=config.scores.missing_eos_penalty,
        whiten_rewards=config.scores.whiten,
        temperature=config.rollout.temperature,
        kl_coef=config.kl.coefficient,
        cliprange=optim.clip,
        cliprange_value=optim.value_clip,
        vf_coef=optim.value_weight,
        gamma=optim.gamma,
        lam=optim.lam,
        num_sample_generations=0,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    adam = torch.optim.Adam(
        [*policy.parameters(), *critic.parameters()], optim.learning_rate, eps=optim.adam_eps
    )
    return trl.PPOTrainer(
        args,
        tokenizer,
        policy,
        reference,
        Scored(RunningSum(numbers), nn.Identity()),
        Dataset.from_dict({"input_ids": [[1]] * num_episodes}),
        critic,
        optimizers=(adam, torch.optim.lr_scheduler.ConstantLR(adam, 1.0)),
    )
