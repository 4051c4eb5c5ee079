"""The networks of a run: policy, reference and critic, from one base."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from torch.distributed.fsdp import FSDPModule
from transformers import PreTrainedTokenizerBase

from guerdon_training.policy.base import policy_base
from guerdon_training.policy.load import load_policy, load_tokenizer
from guerdon_training.policy.packing import check_packing
from guerdon_training.ppo.actor_critic import ActorCritic, ValueModel
from guerdon_training.ppo.checkpoint import trained_state
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


def build_networks(
    config: PpoConfig, place: Callable[[nn.Module], nn.Module] = lambda network: network
) -> Networks:
    """Load the base for each of the networks, in evaluation mode.

    With adapters the critic gets its own; in full training the reference is the base once more, frozen.

    Args:
        place: is given each network once it is loaded, to put it where it shall be; see `sharded.place`.

    Raises:
        InvalidInput: the base cannot be used.
    """
    base = policy_base(config.base)
    tokenizer = load_tokenizer(base)
    policy = load_policy(base, config.lora, config.seed)
    check_packing(policy)
    policy = place(policy)
    value: Any = place(_value_model(base, config)) if config.algorithm == "ppo" else None
    frozen = None
    if config.lora.rank == 0:
        again = load_policy(base, config.lora, config.seed).requires_grad_(False)
        frozen = ActorCritic(place(again), None).eval()
    return Networks(base, tokenizer, ActorCritic(policy, value).eval(), frozen)


def whole_policy(networks: Networks, config: PpoConfig, *, kept: bool) -> nn.Module | None:
    """The trained policy in one piece: itself, or, where processes hold parts, a copy on the CPU.

    A collective operation.

    Args:
        kept: whether this process has a use for it; None, and nothing is read, where it has not.
    """
    policy: nn.Module = networks.learner.policy
    in_parts = isinstance(policy, FSDPModule)
    trained = trained_state(policy, kept=kept) if in_parts else {}
    if not kept:
        return None
    if not in_parts:
        return policy
    whole = load_policy(networks.base, config.lora, config.seed)
    report = whole.load_state_dict(trained, strict=False)
    assert not report.unexpected_keys, "a trained parameter has no place in the policy"
    return whole


def _value_model(base: Path, config: PpoConfig) -> ValueModel:
    """Critic on a trunk of its own, with adapters where the policy has them."""
    loaded: Any = load_policy(base, config.lora, config.seed)
    causal = loaded if config.lora.rank == 0 else loaded.get_base_model()
    return ValueModel(causal.base_model, causal.config.get_text_config().hidden_size)
