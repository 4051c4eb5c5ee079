"""The networks of a run: policy, reference and critic, from one base."""

import copy
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from guerdon_training.policy.base import policy_base
from guerdon_training.policy.config import PolicyLora
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
    """Critic on a trunk of its own, copied from the policy's."""
    causal: Any = load_policy(base, PolicyLora(), config.seed)
    trunk: nn.Module = causal.base_model
    width: int = causal.config.get_text_config().hidden_size
    if config.lora.rank > 0:
        num_layers: int = causal.config.get_text_config().num_hidden_layers
        first = num_layers - (config.lora.last_layers or num_layers)
        trunk = peft.get_peft_model(
            trunk,
            peft.LoraConfig(
                r=config.lora.rank,
                lora_alpha=config.lora.alpha,
                target_modules=list(config.lora.target_modules),
                layers_to_transform=list(range(first, num_layers)),
            ),
        )
    return ValueModel(trunk, width)
