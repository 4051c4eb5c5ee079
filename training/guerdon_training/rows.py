"""Preference pairs as indices into the distinct conversations they compare.

Four ranked answers to one prompt make six pairs but four conversations: each is encoded and pushed
through the model once (Ouyang et al., arXiv 2203.02155, section 3.5).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from transformers import PreTrainedTokenizerBase

from guerdon_service.core.conversation import Message
from guerdon_training.encode import PairTokens, encode_pair
from guerdon_training.tagging import Tagged, Target


@dataclass(frozen=True, slots=True)
class Comparison:
    """Row `chosen` was preferred to row `rejected`, as judged for head number `head`.

    group: number that the comparisons of one prompt for one head share.
    """

    chosen: int
    rejected: int
    head: int
    group: int = 0
    target: Target = field(default_factory=Target)


@dataclass(frozen=True, slots=True)
class Rows:
    """Distinct conversations, and the comparisons between them.

    positions: where each comparison's pair stood in the input; pairs with a response too long for the
        model have no comparison.
    groups: indices into `comparisons`; one group per prompt, so that a batch of whole groups holds both
        sides of every comparison.
    """

    tokens: tuple[PairTokens, ...]
    comparisons: tuple[Comparison, ...]
    positions: tuple[int, ...]
    groups: tuple[tuple[int, ...], ...]


def build_rows(tagged: Sequence[Tagged], tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> Rows:
    """Encode each distinct (prompt, response) once."""
    table = _Table(tokenizer, max_tokens)
    comparisons: list[Comparison] = []
    positions: list[int] = []
    groups: dict[tuple[Message, ...], list[int]] = {}
    numbers: dict[tuple[tuple[Message, ...], int], int] = {}
    for position, t in enumerate(tagged):
        chosen = table.row(t.pair.prompt, t.pair.chosen)
        rejected = table.row(t.pair.prompt, t.pair.rejected)
        if chosen is not None and rejected is not None:
            groups.setdefault(t.pair.prompt, []).append(len(comparisons))
            group = numbers.setdefault((t.pair.prompt, t.head), len(numbers))
            comparisons.append(Comparison(chosen, rejected, t.head, group, t.target))
            positions.append(position)
    return Rows(
        tuple(table.tokens), tuple(comparisons), tuple(positions), tuple(tuple(g) for g in groups.values())
    )


class _Table:
    """Row numbers by (prompt, response)."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> None:
        self.tokens: list[PairTokens] = []
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._numbers: dict[tuple[tuple[Message, ...], str], int | None] = {}

    def row(self, prompt: tuple[Message, ...], response: str) -> int | None:
        """Number of this conversation's row; None where it does not fit the model."""
        key = (prompt, response)
        if key not in self._numbers:
            encoded = encode_pair(self._tokenizer, prompt, response, self._max_tokens)
            self._numbers[key] = None if encoded is None else len(self.tokens)
            self.tokens += [] if encoded is None else [encoded]
        return self._numbers[key]
