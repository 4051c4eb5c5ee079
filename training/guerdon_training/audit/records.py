"""The rows that an audit looks at."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from guerdon_service.core.conversation import Message
from guerdon_training.audit.fold import fold, fold_prompt
from guerdon_training.audit.near import near_clusters
from guerdon_training.convert.source_row import Place


@dataclass(frozen=True, slots=True)
class Pair:
    """One comparison, sound or not.

    rejected_prompt: what stands before `rejected`; differs from `prompt` only in a broken row.
    slices: source, subset, language and the like, where recorded.
    chosen_first: whether the chosen response was shown first (left); None where not recorded.
    is_tie: whether its votes, or ranks, prefer neither: which of the two is called chosen says nothing.
    """

    place: Place
    id: str
    prompt: tuple[Message, ...]
    rejected_prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    split: str
    source: str
    slices: Mapping[str, str]
    annotator: str | None = None
    chosen_first: bool | None = None
    is_tie: bool = False


@dataclass(frozen=True, slots=True)
class Judgement:
    """One person's label on one item.

    label: a name, or a number on a rating scale. A comparison has ``a`` (shown first), ``b`` and ``tie``;
        where the order of presentation is not recorded ``x``, ``y`` and ``tie``, x being the response that
        sorts first.
    annotator: None where votes are recorded without names.
    group: judgements that are comparable: one source, one kind of label.
    """

    place: Place
    item: str
    annotator: str | None
    label: str | float
    group: str
    demographics: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Prompt:
    """The prompt of any row, for leakage and quality."""

    place: Place
    turns: tuple[Message, ...]
    split: str
    source: str
    language: str | None


@dataclass(frozen=True, slots=True)
class Budget:
    """How much of a conversation a model sees.

    split: text to what the limit counts, characters or token ids.
    """

    limit: int
    unit: str
    split: Callable[[str], Sequence[Hashable]]


DEFAULT_BUDGET = Budget(2048, "characters", lambda text: text)
"""About 512 tokens of English at four characters each, the context of the small encoders."""


@dataclass(frozen=True)
class Records:
    """All rows of the audited files, in reading order, and the prompts of the named evaluation files."""

    pairs: tuple[Pair, ...]
    judgements: tuple[Judgement, ...]
    prompts: tuple[Prompt, ...]
    evaluation: tuple[Prompt, ...] = ()
    budget: Budget = DEFAULT_BUDGET

    @cached_property
    def preferred(self) -> "Records":
        """The same without ties, for checks of what makes a response win."""
        kept = tuple(p for p in self.pairs if not p.is_tie)
        return self if len(kept) == len(self.pairs) else replace(self, pairs=kept)

    @cached_property
    def prompt_clusters(self) -> Mapping[str, int]:
        """Folded prompt to the number of its near-duplicate cluster; over all files."""
        return near_clusters((*self.prompt_keys, *self.evaluation_keys))

    @cached_property
    def prompt_keys(self) -> tuple[str, ...]:
        """Each of `prompts`, folded."""
        return tuple(fold_prompt(p.turns) for p in self.prompts)

    @cached_property
    def evaluation_keys(self) -> tuple[str, ...]:
        """Each of `evaluation`, folded."""
        return tuple(fold_prompt(p.turns) for p in self.evaluation)

    @cached_property
    def response_clusters(self) -> Mapping[str, int]:
        """Folded response to the number of its near-duplicate cluster."""
        return near_clusters([fold(text) for p in self.pairs for text in (p.chosen, p.rejected)])

    @cached_property
    def pair_keys(self) -> tuple[tuple[str, str, str], ...]:
        """Folded (prompt, chosen, rejected) of each pair."""
        return tuple((fold_prompt(p.prompt), fold(p.chosen), fold(p.rejected)) for p in self.pairs)
