"""Best-of-n as data: what is asked, each candidate, and the choice."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol

from guerdon_service.core.conversation import Message
from guerdon_service.core.generation import Generated, SamplingParams
from guerdon_service.core.query import Options
from guerdon_service.core.result import Provenance, Score


@dataclass(frozen=True, slots=True)
class BestOfNQuery:
    """Sample n responses of `policy`, score them under `options.model`, choose one.

    conservatism: k of the choice by ``reward - k * std``.
    choice_temperature: 0 takes the best; above it draws with probability proportional to
        ``exp(reward / choice_temperature)`` (soft best-of-n), by `params.seed`.
    min_margin: abstain when the best leads the second by less, in units of reward; 0 never abstains.
    patience: stop early once this many candidates in a row did not raise the best; 0 samples all n.
    """

    policy: str
    prompt: tuple[Message, ...]
    n: int
    params: SamplingParams = field(default_factory=SamplingParams)
    conservatism: float = 0.0
    choice_temperature: float = 0.0
    min_margin: float = 0.0
    patience: int = 0
    options: Options = field(default_factory=Options)


@dataclass(frozen=True, slots=True)
class ScoredCandidate:
    """A response with its score; `duplicate_of` is the index of an equal text that was scored first."""

    generated: Generated
    score: Score
    duplicate_of: int | None = None


@dataclass(frozen=True, slots=True)
class BestOfNResult:
    """The choice and what it was chosen from.

    best: index (`Generated.index`) of the chosen candidate; None when `abstained`.
    candidates: by index; fewer than n when stopped early or `partial`.
    partial: the policy died or the deadline came first; the best of what had arrived was chosen.
    kl_upper_bound: ``log n - (n - 1) / n`` in nats, n as asked for: an upper bound, whatever the choice
        (Beirami et al., arXiv 2401.01879).
    expected_win_rate: at most ``n / (n + 1)`` against one sample: a bound as well.
    """

    policy: str
    model: Provenance
    best: int | None
    candidates: tuple[ScoredCandidate, ...]
    abstained: bool
    partial: bool
    stopped_early: bool
    kl_upper_bound: float
    expected_win_rate: float
    total_s: float


class BestOfN(Protocol):
    """What a transport asks for. Raises only `core.errors`."""

    def stream(self, query: BestOfNQuery) -> AsyncIterator[ScoredCandidate | BestOfNResult]:
        """Candidates as they are scored, the result last."""
        ...

    async def run(self, query: BestOfNQuery) -> BestOfNResult:
        """The result alone."""
        ...

    def policies(self) -> tuple[str, ...]:
        """Names that `BestOfNQuery.policy` may give."""
        ...
