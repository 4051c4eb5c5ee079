"""Best-of-n whose candidates are kept."""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Callable

from guerdon_service.core.best_of_n import BestOfN, BestOfNQuery, BestOfNResult, ScoredCandidate
from guerdon_service.core.call import ANONYMOUS
from guerdon_service.core.candidate_log import CandidateRecord, CandidateStore, LoggedCandidate
from guerdon_service.core.errors import GuerdonError
from guerdon_service.core.streams import closed_after

MAX_WAITING = 256
"""Records that wait for the store at once; beyond, they are lost, because memory is bounded."""

_LOG = logging.getLogger(__name__)


class LoggedBestOfN:
    """`core.best_of_n.BestOfN` around another: each result is stored, prompts and responses with it.

    The caller never waits for the store, nor hears of its outage: what cannot be stored is lost, and the log
    says so without a word of the texts.

    Args:
        now: Unix seconds.
    """

    def __init__(self, inner: BestOfN, store: CandidateStore, now: Callable[[], float] = time.time) -> None:
        self._inner = inner
        self._store = store
        self._now = now
        self._tasks: set[asyncio.Task[None]] = set()

    def policies(self) -> tuple[str, ...]:
        """See `BestOfN.policies`."""
        return self._inner.policies()

    async def run(self, query: BestOfNQuery) -> BestOfNResult:
        """See `BestOfN.run`."""
        result = await self._inner.run(query)
        self._keep(query, result)
        return result

    async def stream(self, query: BestOfNQuery) -> AsyncGenerator[ScoredCandidate | BestOfNResult]:
        """See `BestOfN.stream`; one that is left before its result is not kept."""
        async with closed_after(self._inner.stream(query)) as parts:
            async for part in parts:
                if isinstance(part, BestOfNResult):
                    self._keep(query, part)
                yield part

    async def close(self) -> None:
        """Return once everything is stored, or lost."""
        await asyncio.gather(*self._tasks)

    def _keep(self, query: BestOfNQuery, result: BestOfNResult) -> None:
        if len(self._tasks) >= MAX_WAITING:
            self._lost(query, "the store is too slow")
            return
        task = asyncio.create_task(self._write(query, to_record(query, result, self._now())))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(self, query: BestOfNQuery, record: CandidateRecord) -> None:
        try:
            await asyncio.to_thread(self._store.add, record)
        except GuerdonError as err:
            self._lost(query, err.message)
        except Exception:
            _LOG.exception("candidates not kept", extra={"request_id": query.options.request_id})

    def _lost(self, query: BestOfNQuery, reason: str) -> None:
        extra = {"request_id": query.options.request_id, "reason": reason}
        _LOG.warning("candidates not kept", extra=extra)


def to_record(query: BestOfNQuery, result: BestOfNResult, at: float) -> CandidateRecord:
    """What is kept of a result, under a new id."""
    model, options = result.model, query.options
    indices = [c.generated.index for c in result.candidates]
    return CandidateRecord(
        id=secrets.token_hex(16),
        request_id=options.request_id,
        tenant=options.tenant or ANONYMOUS,
        policy=result.policy,
        model=f"{model.name}@{model.version}" if model.version else model.name,
        digest=model.digest,
        prompt=query.prompt,
        candidates=tuple(
            LoggedCandidate(c.generated.text, c.score.reward, c.score.std, c.score.deviations)
            for c in result.candidates
        ),
        chosen=None if result.best is None else indices.index(result.best),
        at=at,
    )
