"""The networks of a run: policy, reference and critic, from one base."""

import copy
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from guerdon_training.policy.base import policy_base
from guerdon_training.policy.load import load_policy, load_tokenizer
from guerdon_training.ppo.actor_critic import ActorCritic, ValueModel
from guerdon_training.ppo.config import PpoConfig


@dataclass(frozen=True, slots=True)
class Networks:
    """What learns, and what it is compared with.

    frozen: copy of the policy as it was; None where the policy's adapter can be switched off instead.
    """

    base: Path
    tokenizer: PreTrainedTokenizerBase
    learner: ActorCritic
    frozen: ActorCritic | None

    @property
    def reference(self) -> ActorCritic:
        """Use it inside `as_reference`."""
        return self.frozen or ActorCritic(self.learner.policy, None)

    def as_reference(self) -> AbstractContextManager[Any]:
        """Within it, `reference` is the policy before training."""
        return nullcontext() if self.frozen else self.learner.policy.disable_adapter()

    def to(self, device: torch.device) -> "Networks":
        """Move them."""
        self.learner.to(device)
        if self.frozen is not None:
            self.frozen.to(device)
        return self


def build_networks(config: PpoConfig) -> Networks:
    """Load the base once for the policy and copy it for the others, in evaluation mode.

    With adapters the critic gets its own; in full training the reference is a frozen copy.

    Raises:
        InvalidInput: the base cannot be used.
    """
    base = policy_base(config.base)
    tokenizer = load_tokenizer(base)
    policy: Any = load_policy(base, config.lora, config.seed)
    value = _value_model(base, config) if config.algorithm == "ppo" else None
    frozen = None
    if config.lora.rank == 0:
        frozen = ActorCritic(copy.deepcopy(policy), None).eval().requires_grad_(False)
    return Networks(base, tokenizer, ActorCritic(policy, value).eval(), frozen)


def _value_model(base: Path, config: PpoConfig) -> ValueModel:
    """Critic on a trunk of its own, with adapters where the policy has them."""
    loaded: Any = load_policy(base, config.lora, config.seed)
    causal = loaded if config.lora.rank == 0 else loaded.get_base_model()
    return ValueModel(causal.base_model, causal.config.get_text_config().hidden_size)
