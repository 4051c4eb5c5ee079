"""Best-of-n: sample with a policy, score with a served model as candidates finish, choose."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace

from guerdon_service.bestofn.admission import check_query
from guerdon_service.bestofn.choose import choose
from guerdon_service.bestofn.drawing import Drawn, Ended, Outcome, Unscored, drawing
from guerdon_service.bestofn.pinned import check_same, pinned
from guerdon_service.bestofn.tally import Tally
from guerdon_service.core.best_of_n import BestOfNQuery, BestOfNResult, ScoredCandidate
from guerdon_service.core.errors import (
    BackendFailed,
    DeadlineExceeded,
    GuerdonError,
    InvalidInput,
    UnknownModel,
)
from guerdon_service.core.generation import Policy
from guerdon_service.core.limits import Limits
from guerdon_service.core.result import Provenance
from guerdon_service.core.scorer import Scorer
from guerdon_service.core.statistics.best_of_n import expected_win_rate_bound, kl_upper_bound
from guerdon_service.core.streams import closed_after


class BestOfNService:
    """`core.best_of_n.BestOfN` over a domain layer and policies, which it owns.

    With a policy that is a function of the seed, so is the result, unless it is `partial`: nothing in it
    depends on the order of arrival.
    """

    def __init__(self, scorer: Scorer, policies: Iterable[Policy], limits: Limits) -> None:
        self._scorer = scorer
        self._policies = {policy.name: policy for policy in policies}
        self._limits = limits

    def policies(self) -> tuple[str, ...]:
        """See `BestOfN.policies`."""
        return tuple(self._policies)

    async def run(self, query: BestOfNQuery) -> BestOfNResult:
        """See `BestOfN.run`."""
        async with closed_after(self.stream(query)) as parts:
            async for part in parts:
                if isinstance(part, BestOfNResult):
                    return part
        raise AssertionError("a stream ends with its result")

    async def stream(self, query: BestOfNQuery) -> AsyncIterator[ScoredCandidate | BestOfNResult]:
        """See `BestOfN.stream`.

        An empty response, and one that does not fit the reward model, is left out of the candidates.

        Raises:
            InvalidInput: a field is out of range, or no response could be scored.
            UnknownModel: no such policy or model.
            DeadlineExceeded: nothing was scored in time.
            NotReady: a member of an ensemble was promoted meanwhile; ask again.
            GuerdonError: the policy's error when it gave nothing, or the model's.
        """
        started = time.monotonic()
        check_query(query, self._limits)
        policy = self.policy(query.policy)
        options = pinned(self._scorer, query.options)
        deadline_s = query.options.deadline_s or self._limits.default_deadline_s
        progress = _Progress(Tally(query))
        end = asyncio.get_running_loop().time() + deadline_s
        async with drawing(self._scorer, policy, query, replace(options, deadline_s=deadline_s)) as outcomes:
            while not progress.is_over:
                for candidate in progress.take(await _next(outcomes, end)):
                    yield candidate
        if progress.is_partial:
            for candidate in progress.tally.flush():
                yield candidate
        yield progress.result(query, time.monotonic() - started)

    def policy(self, name: str) -> Policy:
        """The policy of that name.

        Raises:
            UnknownModel: there is none.
        """
        if name not in self._policies:
            known = ", ".join(self._policies) or "none is configured"
            raise UnknownModel(f"policy {name!r} is unknown; use one of: {known}", param="policy")
        return self._policies[name]

    def add(self, policy: Policy) -> None:
        """One more policy, under its own name; it is this service that closes it."""
        self._policies[policy.name] = policy

    async def close(self) -> None:
        """Close the policies."""
        await asyncio.gather(*(policy.close() for policy in self._policies.values()))


@dataclass(slots=True)
class _Progress:
    """What has come of one query so far."""

    tally: Tally
    model: Provenance | None = None
    is_over: bool = False
    is_partial: bool = False
    num_arrived: int = 0
    error: GuerdonError | None = None
    """Why there is less than was asked for."""

    def take(self, outcome: Outcome | None) -> list[ScoredCandidate]:
        """Those that count now; None is the deadline."""
        if isinstance(outcome, Drawn):
            check_same(self.model, outcome.model)
            self.model = outcome.model
            return self._arrived(outcome.candidate.generated.index, outcome.candidate)
        if isinstance(outcome, Unscored) and isinstance(outcome.error, InvalidInput):
            self.error = outcome.error
            return self._arrived(outcome.index, None)
        self.is_over = self.is_partial = True
        if isinstance(outcome, Ended):
            self.is_partial = self.num_arrived < self.tally.num_asked
            self.error = outcome.error or self.error
        elif isinstance(outcome, Unscored) and not isinstance(outcome.error, DeadlineExceeded):
            raise outcome.error
        else:
            self.error = DeadlineExceeded(
                "deadline_ms passed before one candidate was sampled and scored; allow more, or ask for "
                "fewer max_tokens",
                param="deadline_ms",
            )
        return []

    def result(self, query: BestOfNQuery, total_s: float) -> BestOfNResult:
        """The choice.

        The bounds take n as asked for: they hold for every way of choosing from n samples, and those that
        came too late had their part in which came first.

        Raises:
            GuerdonError: there is nothing to choose from.
        """
        counted = sorted(self.tally.counted, key=lambda c: c.generated.index)
        if not counted or self.model is None:
            raise self.error or BackendFailed(f"policy {query.policy} gave no response; see its log")
        best = choose(counted, query)
        return BestOfNResult(
            policy=query.policy,
            model=self.model,
            best=best,
            candidates=tuple(counted),
            abstained=best is None,
            partial=self.is_partial,
            stopped_early=self.tally.stopped_early,
            kl_upper_bound=kl_upper_bound(query.n),
            expected_win_rate=expected_win_rate_bound(query.n),
            total_s=total_s,
        )

    def _arrived(self, index: int, candidate: ScoredCandidate | None) -> list[ScoredCandidate]:
        self.num_arrived += 1
        released = self.tally.add(index, candidate)
        self.is_over = self.tally.stopped_early
        return released


async def _next(outcomes: "asyncio.Queue[Outcome]", end: float) -> Outcome | None:
    """The next outcome; None once the loop's clock has reached `end`."""
    try:
        async with asyncio.timeout_at(end):
            return await outcomes.get()
    except TimeoutError:
        return None
