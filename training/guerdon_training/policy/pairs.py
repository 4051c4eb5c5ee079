"""Comparisons from files, as token ids, as packed rows and as log-probabilities."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from guerdon_training.data import PreferencePair, read_decided
from guerdon_training.policy.config import PolicyConfig
from guerdon_training.policy.encode import Example, encode_examples
from guerdon_training.policy.logprobs import example_logprobs
from guerdon_training.policy.plan import packed
from guerdon_training.policy.rows import Row, pack
from guerdon_training.policy.select import select
from guerdon_training.usable import check_classes


@dataclass(frozen=True, slots=True)
class ExamplePair:
    """Two responses to one prompt, each after the tokens that are left of it."""

    chosen: Example
    rejected: Example

    @property
    def num_tokens(self) -> int:
        """Of both, the prompt twice."""
        return len(self.chosen.input_ids) + len(self.rejected.input_ids)


@dataclass(frozen=True, slots=True)
class PairBatch:
    """P pairs in one packed row, each chosen, then rejected.

    reference: float32 [P, 2], log-probabilities of both under the reference.
    """

    row: Row
    reference: Tensor

    @property
    def num_units(self) -> int:
        """Pairs."""
        return len(self.reference)


def read_splits(
    config: PolicyConfig, say: Callable[[str], object]
) -> tuple[dict[str, list[PreferencePair]], Mapping[str, int]]:
    """Pairs of each split, those that the config asks for, and ``num_SPLIT_ties``: the ties in its file.

    Args:
        say: is told of the ties of each file.

    Raises:
        InvalidInput: a file, or a line, cannot be used.
    """
    kept: dict[str, list[PreferencePair]] = {}
    num_ties: dict[str, int] = {}
    for split, (file, limit) in config.data.splits.items():
        pairs, num_ties[f"num_{split}_ties"] = read_decided(file, say)
        kept[split] = select(pairs, config.data.sources, limit, config.seed, file)
        check_classes(kept[split], file)
    return kept, num_ties


def encode_pairs(
    tokenizer: PreTrainedTokenizerBase, pairs: Sequence[PreferencePair], max_tokens: int
) -> list[ExamplePair]:
    """The pairs of which both responses fit `max_tokens`, in their order.

    Raises:
        InvalidInput: the chat template refuses a prompt.
    """
    encoded = (encode_examples(tokenizer, p.prompt, (p.chosen, p.rejected), max_tokens) for p in pairs)
    return [ExamplePair(*examples) for examples in encoded if examples is not None]


def pair_batch(pairs: Sequence[ExamplePair], reference: Tensor) -> PairBatch:
    """Pack `pairs`; `reference` has their rows."""
    return PairBatch(pack([e for pair in pairs for e in (pair.chosen, pair.rejected)]), reference)


@torch.no_grad()
def pair_logprobs(model: nn.Module, pairs: Sequence[ExamplePair], max_row_tokens: int) -> Tensor:
    """Log-probabilities of whole responses: float32 [P, 2] on the CPU, chosen and rejected."""
    found = torch.zeros(len(pairs), 2)
    for row in packed(range(len(pairs)), [p.num_tokens for p in pairs], max_row_tokens):
        batch = pair_batch([pairs[i] for i in row], found[row])
        found[row] = example_logprobs(model, batch.row).view(-1, 2).cpu()
    return found


def num_targets(pairs: Sequence[ExamplePair]) -> Tensor:
    """Tokens of the responses: int64 [P, 2]."""
    return torch.tensor([[p.chosen.num_targets, p.rejected.num_targets] for p in pairs])
