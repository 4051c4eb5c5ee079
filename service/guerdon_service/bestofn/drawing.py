"""Sampling and scoring side by side: each candidate is scored as soon as it is finished."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf

from guerdon_service.core.best_of_n import BestOfNQuery, ScoredCandidate
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import BackendFailed, GuerdonError, InvalidInput, Overloaded
from guerdon_service.core.generation import Generated, Policy
from guerdon_service.core.query import Options, ScoreQuery
from guerdon_service.core.result import Provenance, Score
from guerdon_service.core.scorer import Scorer
from guerdon_service.core.streams import closed_after

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A candidate and the model that scored it."""

    candidate: ScoredCandidate
    model: Provenance


@dataclass(frozen=True, slots=True)
class Unscored:
    """A finished response without a score: `InvalidInput` when the response itself is to blame."""

    index: int
    error: GuerdonError


@dataclass(frozen=True, slots=True)
class Ended:
    """No more will come; `error` when the policy broke off."""

    error: GuerdonError | None


Outcome = Drawn | Unscored | Ended


@asynccontextmanager
async def drawing(
    scorer: Scorer, policy: Policy, query: BestOfNQuery, options: Options
) -> AsyncIterator["asyncio.Queue[Outcome]"]:
    """Outcomes as they come, `Ended` last. Leaving the body stops the policy and the scoring.

    Args:
        options: of every score; a policy that has no room is asked again for as long as their deadline.
    """
    draw = _Drawing(scorer, policy, query, options)
    task = asyncio.create_task(draw.run())
    try:
        yield draw.outcomes
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class _Drawing:
    """One query's candidates; equal texts share one score."""

    def __init__(self, scorer: Scorer, policy: Policy, query: BestOfNQuery, options: Options) -> None:
        self.outcomes: asyncio.Queue[Outcome] = asyncio.Queue()
        self._scorer = scorer
        self._policy = policy
        self._query = query
        self._options = options
        self._first: dict[str, tuple[int, asyncio.Future[tuple[Score, Provenance]]]] = {}

    async def run(self) -> None:
        """Sample until the policy ends, and until everything that it gave is scored."""
        async with asyncio.TaskGroup() as scoring:
            error = await self._sample(scoring)
        self.outcomes.put_nowait(Ended(error))

    async def _sample(self, scoring: asyncio.TaskGroup) -> GuerdonError | None:
        name, loop = self._policy.name, asyncio.get_running_loop()
        end = loop.time() + (self._options.deadline_s or inf)
        try:
            while (full := await self._generate(scoring)) is not None:
                wait_s = (full.retry_after_ms or 1000) / 1000
                if loop.time() + wait_s >= end:
                    return full
                await asyncio.sleep(wait_s)
        except GuerdonError as err:
            return err
        except Exception:
            _LOG.exception("policy failed", extra={"policy": name})
            return BackendFailed(f"policy {name} failed; see the service's log")
        return None

    async def _generate(self, scoring: asyncio.TaskGroup) -> Overloaded | None:
        query = self._query
        try:
            async with closed_after(self._policy.generate(query.prompt, query.n, query.params)) as arriving:
                async for generated in arriving:
                    scoring.create_task(self._score(generated))
        except Overloaded as err:
            return err
        return None

    async def _score(self, generated: Generated) -> None:
        first = self._first.get(generated.text)
        try:
            if first is not None:
                score, model = await asyncio.shield(first[1])
            else:
                score, model = await self._first_score(generated)
        except GuerdonError as err:
            self.outcomes.put_nowait(Unscored(generated.index, err))
            return
        duplicate_of = None if first is None else first[0]
        self.outcomes.put_nowait(Drawn(ScoredCandidate(generated, score, duplicate_of), model))

    async def _first_score(self, generated: Generated) -> tuple[Score, Provenance]:
        found: asyncio.Future[tuple[Score, Provenance]] = asyncio.get_running_loop().create_future()
        self._first[generated.text] = (generated.index, found)
        try:
            if not generated.text:
                raise InvalidInput(
                    f"the responses of policy {self._policy.name} are empty; change the prompt or the seed",
                    param="policy",
                )
            item = Conversation(self._query.prompt, generated.text)
            result = await self._scorer.score(ScoreQuery((item,), self._options))
            found.set_result((result.scores[0], result.model))
        except GuerdonError as err:
            found.set_exception(err)
        except Exception:  # candidates of the same text wait for an answer
            _LOG.exception("scoring failed")
            found.set_exception(BackendFailed("a candidate could not be scored; see the service's log"))
        return await found
