"""The domain layer with a candidate beside it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from guerdon_service.core.artifact import ModelInfo
from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import GuerdonError
from guerdon_service.core.manifest import Manifest
from guerdon_service.core.query import CompareQuery, Lane, Options, RankQuery, ScoreQuery
from guerdon_service.core.result import CompareResult, RankResult, ScoreResult, Usage
from guerdon_service.core.scorer import Scorer
from guerdon_service.shadow.agreement import Agreement
from guerdon_service.shadow.drift_monitor import DriftMonitor
from guerdon_service.shadow.trial import Trial
from guerdon_service.shadow.trials import Trials

MAX_IN_FLIGHT = 32
"""Shadow requests at work at once; beyond, traffic is skipped and counted rather than queued."""

Q = TypeVar("Q", ScoreQuery, CompareQuery, RankQuery)
R = TypeVar("R", ScoreResult, CompareResult, RankResult)
Group = dict[int, float]
"""Rewards of the responses of one request to one prompt, by place in the request."""
Groups = Callable[[R], list[Group]]

log = logging.getLogger(__name__)


class ShadowingScorer:
    """A `Scorer` around another: canary requests go to the candidate, shadowed ones to it as well.

    The answer never waits for the shadow, and a shadow that fails is counted and nothing else. For one loop.
    """

    def __init__(self, inner: Scorer, trials: Trials, drift: DriftMonitor) -> None:
        self._inner = inner
        self._trials = trials
        self._drift = drift
        self._tasks: set[asyncio.Task[None]] = set()

    async def score(self, query: ScoreQuery) -> ScoreResult:
        """Score each item; items of one prompt are one group of the comparison."""
        prompts = [item.prompt for item in query.items]
        return await self._answer(query, prompts, self._inner.score, lambda r: _by_prompt(prompts, r))

    async def compare(self, query: CompareQuery) -> CompareResult:
        """Probability that a is preferred to b, for each pair."""
        prompts = [pair.prompt for pair in query.pairs]
        return await self._answer(query, prompts, self._inner.compare, _of_pairs)

    async def rank(self, query: RankQuery) -> RankResult:
        """Order candidates, best first."""
        return await self._answer(query, [query.prompt], self._inner.rank, _of_ranking)

    async def idle(self) -> None:
        """Return once no shadow is at work."""
        await asyncio.gather(*self._tasks)

    async def _answer(
        self,
        query: Q,
        prompts: Sequence[tuple[Message, ...]],
        verb: Callable[[Q], Awaitable[R]],
        groups: Groups[R],
    ) -> R:
        if not prompts:
            return await verb(query)
        result = await self._answered(query, prompts[0], verb)
        self._drift.observe(result)
        trial = self._to_shadow(query.options, prompts[0])
        if trial is not None:
            self._begin(trial, query, result, verb, groups)
        return result

    async def _answered(self, query: Q, prompt: tuple[Message, ...], verb: Callable[[Q], Awaitable[R]]) -> R:
        """By the candidate where it is its turn; where it cannot, by the champion, who would have."""
        options = self._trials.canary(query.options, prompt)
        if options is query.options:
            return await verb(query)
        try:
            return await verb(replace(query, options=options))
        except GuerdonError as err:
            log.info("canary failed", extra={"model": options.model, "reason": err.message})
            trial = self._trials.of(query.options.model)
            if trial is not None:
                self._trials.update(trial, lambda t: _counted(t, num_failed=t.agreement.num_failed + 1))
            return await verb(query)

    def _to_shadow(self, options: Options, prompt: tuple[Message, ...]) -> Trial | None:
        plan = self._trials.plan
        if not plan.shadow_share or not plan.is_shadowed(options.tenant, prompt):
            return None
        trial = self._trials.of(options.model)
        return None if trial is None or self._trials.is_lost(trial) else trial

    def _begin(
        self, trial: Trial, query: Q, result: R, verb: Callable[[Q], Awaitable[R]], groups: Groups[R]
    ) -> None:
        if result.model.version != trial.champion:  # a canary, or the alias moved meanwhile
            return
        if len(self._tasks) >= MAX_IN_FLIGHT:
            self._trials.update(trial, lambda t: _counted(t, num_skipped=t.agreement.num_skipped + 1))
            return
        model = f"{trial.name}@{trial.candidate}"
        options = replace(query.options, model=model, lane=Lane.BULK, deadline_s=None)
        mirrored = replace(query, options=options)
        if isinstance(mirrored, RankQuery):
            mirrored = replace(mirrored, top_k=None)  # its best ones need not be the champion's
        task = asyncio.create_task(self._shadow(trial, mirrored, result, verb, groups))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _shadow(
        self, trial: Trial, query: Q, result: R, verb: Callable[[Q], Awaitable[R]], groups: Groups[R]
    ) -> None:
        try:
            shadow = await verb(query)
        except GuerdonError as err:
            log.info("shadow failed", extra={"model": query.options.model, "reason": err.message})
            self._trials.update(trial, lambda t: _counted(t, num_failed=t.agreement.num_failed + 1))
            return
        both = [
            (list(ours.values()), [theirs[i] for i in ours])
            for ours, theirs in zip(groups(result), groups(shadow), strict=True)
        ]
        times = (_time(result.usage), _time(shadow.usage))
        self._trials.update(trial, lambda t: replace(t, agreement=t.agreement.add(both, *times)))

    async def token_ids(self, query: ScoreQuery) -> tuple[tuple[int, ...], ...]:
        """Passed on."""
        return await self._inner.token_ids(query)

    def models(self) -> tuple[ModelInfo, ...]:
        """Passed on."""
        return self._inner.models()

    def model(self, name: str) -> ModelInfo:
        """Passed on."""
        return self._inner.model(name)

    def manifest(self, name: str) -> Manifest:
        """Passed on."""
        return self._inner.manifest(name)

    def batch_tokens(self, name: str) -> int:
        """Passed on."""
        return self._inner.batch_tokens(name)

    async def unload_model(self, name: str) -> None:
        """Passed on."""
        await self._inner.unload_model(name)

    def is_ready(self) -> bool:
        """Passed on."""
        return self._inner.is_ready()

    def unready_reason(self) -> str:
        """Passed on."""
        return self._inner.unready_reason()

    def begin_drain(self) -> None:
        """Passed on."""
        self._inner.begin_drain()

    async def close(self) -> None:
        """End the shadows, then the rest."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._inner.close()


def _counted(trial: Trial, **counts: int) -> Trial:
    agreement: Agreement = replace(trial.agreement, **counts)
    return replace(trial, agreement=agreement)


def _by_prompt(prompts: Sequence[tuple[Message, ...]], result: ScoreResult) -> list[Group]:
    groups: dict[tuple[Message, ...], Group] = {}
    for place, (prompt, score) in enumerate(zip(prompts, result.scores, strict=True)):
        groups.setdefault(prompt, {})[place] = score.reward
    return list(groups.values())


def _of_pairs(result: CompareResult) -> list[Group]:
    return [{0: p.a.reward, 1: p.b.reward} for p in result.preferences]


def _of_ranking(result: RankResult) -> list[Group]:
    return [{r.index: r.score.reward for r in result.results}]


def _time(usage: Usage) -> float:
    """Seconds that scoring took, without waiting: what the cache answered costs neither model anything."""
    return usage.forward_s
