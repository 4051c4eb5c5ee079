"""The policy and its critic in one module: what they say about the tokens of packed episodes."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from guerdon_training.policy.logprobs import token_logprobs
from guerdon_training.policy.rows import Row
from guerdon_training.ppo.losses import entropies


class Evaluated(NamedTuple):
    """About each of the N sampled tokens of a row, float32 [N].

    logprobs: under the policy at the sampling temperature.
    values: of the state before each token; zeros without a critic.
    entropies: of the next-token distributions; zeros unless asked for.
    """

    logprobs: Tensor
    values: Tensor
    entropies: Tensor


class ValueModel(nn.Module):
    """A trunk of its own with one output per position.

    Args:
        trunk: decoder without a language-model head.
        hidden_size: width of its states. The output starts at 0 (Ziegler et al., arXiv 1909.08593).
    """

    def __init__(self, trunk: Any, hidden_size: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.Linear(hidden_size, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, row: Row) -> Tensor:
        """Value of the state before each target of the row: float32 [N]."""
        states = self.trunk(
            input_ids=row.input_ids, position_ids=row.position_ids, use_cache=False
        ).last_hidden_state[0, row.predictors]
        values: Tensor = self.head(states).squeeze(-1)
        return values.float()


class ActorCritic(nn.Module):
    """Both networks, so that one forward evaluates a row and one optimiser sees all that trains.

    Args:
        policy: causal language model, a PEFT one or a plain one.
        value: None for RLOO.
    """

    def __init__(self, policy: Any, value: ValueModel | None) -> None:
        super().__init__()
        self.policy = policy
        self.value = value

    def forward(self, row: Row, temperature: float, with_entropy: bool = False) -> Evaluated:
        """Evaluate the targets of a row, which are the sampled tokens of its episodes."""
        logits = self.policy(
            input_ids=row.input_ids,
            position_ids=row.position_ids,
            use_cache=False,
            logits_to_keep=row.predictors,
        ).logits[0]
        logprobs = token_logprobs(logits, row.targets, temperature)
        nothing = torch.zeros_like(logprobs)
        with torch.no_grad():
            spread = entropies(logits / temperature) if with_entropy else nothing
        return Evaluated(logprobs, nothing if self.value is None else self.value(row), spread)
