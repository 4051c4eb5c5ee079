"""People's judgements as evidence on the candidate."""

import asyncio
import logging
from collections.abc import Sequence

from guerdon_service.core.errors import GuerdonError
from guerdon_service.core.feedback import Agreement, Feedback, FeedbackTaker
from guerdon_service.core.model_name import split_reference
from guerdon_service.core.query import CompareQuery, Lane, Options, Pair
from guerdon_service.core.scorer import Scorer
from guerdon_service.shadow.trial import Trial
from guerdon_service.shadow.trials import Trials

MAX_IN_FLIGHT = 32
"""Judgements at work at once; beyond, they are kept but are no evidence."""
MAX_SEEN = 10_000
"""Latest prompts that are known to have been judged."""

log = logging.getLogger(__name__)


class JudgingFeedback:
    """A `FeedbackTaker` around another: each new judgement is put to champion and candidate.

    The caller never waits for it. A prompt counts once in a trial, by the first pair that is judged, whoever
    judges it: where one model does better on a prompt it does so on several of its pairs, which would be
    betted on again (simulated at alpha 0.01, with pairs of a prompt alike: two of each stop 7 % of candidates
    that are as good, four 26 %). The evidence is this replica's own and ends with it; that a candidate was
    stopped does not (`stops.Stops`).
    """

    def __init__(self, inner: FeedbackTaker, scorer: Scorer, trials: Trials) -> None:
        self._inner = inner
        self._scorer = scorer
        self._trials = trials
        self._seen: dict[int, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, feedback: Feedback) -> Feedback:
        """Store, then judge in the background."""
        kept = await self._inner.submit(feedback)
        trial = self._trials.of(split_reference(kept.model)[0] or None)
        if trial is None or kept.is_tie or len(self._tasks) >= MAX_IN_FLIGHT:
            return kept
        if self._is_new(trial, kept):
            task = asyncio.create_task(self._judge(trial, kept))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return kept

    def _is_new(self, trial: Trial, feedback: Feedback) -> bool:
        key = hash((trial.name, trial.champion, trial.candidate, feedback.prompt))
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > MAX_SEEN:
            del self._seen[next(iter(self._seen))]
        return True

    async def agreement(self, tenant: str | None) -> Agreement:
        """See `FeedbackTaker.agreement`."""
        return await self._inner.agreement(tenant)

    async def idle(self) -> None:
        """Return once every judgement is in."""
        await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """End what is at work."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _judge(self, trial: Trial, feedback: Feedback) -> None:
        pair = Pair(feedback.prompt, feedback.chosen, feedback.rejected)
        versions: Sequence[str] = (trial.champion, trial.candidate)
        try:
            margins = [await self._margin(f"{trial.name}@{version}", pair, feedback) for version in versions]
        except GuerdonError as err:
            log.info("judgement not scored", extra={"feedback": feedback.id, "reason": err.message})
            return
        self._trials.update(trial, lambda t: t.judged(*margins))

    async def _margin(self, model: str, pair: Pair, feedback: Feedback) -> float:
        options = Options(model=model, lane=Lane.BULK, tenant=feedback.tenant)
        result = await self._scorer.compare(CompareQuery((pair,), options))
        return result.preferences[0].margin
