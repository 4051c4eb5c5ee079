"""The back-end thread: take, forward, scatter, for as long as the queue is open."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray

from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import BackendFailed, DeadlineExceeded, GuerdonError
from guerdon_service.core.ports import Backend, BatchReport, ProcessDied, RawScores
from guerdon_service.engine.pending import Pending
from guerdon_service.engine.token_queue import TokenQueue

log = logging.getLogger(__name__)

Answer = RawScores | GuerdonError
Scatter = Callable[[Sequence[Pending], Sequence[Answer], BatchReport | None], None]

MAX_FAILED_BATCHES = 5
"""Forwards in a row that may fail whole, a known good item among them, before the worker is unhealthy."""
PROBE_S = 1.0
"""How often an unhealthy worker tries again by itself: readiness keeps requests away from it meanwhile."""
MAX_DEATHS = 32
"""Of processes, by one batch: enough to find the one or two items that kill them among thousands."""
STALL_S = 60.0
"""A forward under way for so long has stalled: nobody who gave no deadline of his own still waits for it."""


@dataclass(slots=True)
class _Health:
    alive: bool = True
    failed_batches: int = 0
    busy_since: float = inf


class Worker:
    """Asks the back end on one daemon thread. Work-conserving: no timer, it takes whatever waits.

    Args:
        scatter: called on the thread with a batch, its answers in order, and what the forward cost.
        number: among the workers of one queue, or `token_queue.EXPRESS`.
    """

    def __init__(
        self,
        model: str,
        backend: Backend,
        queue: TokenQueue,
        clock: Callable[[], float],
        scatter: Scatter,
        number: int = 0,
    ) -> None:
        self._model = model
        self._backend = backend
        self._queue = queue
        self._clock = clock
        self._scatter = scatter
        self._number = number
        self._health = _Health()
        self._num_deaths = 0
        self._known: Encoded | None = None
        """The last item that was scored; until there is one, the last that was not."""
        self._thread = threading.Thread(target=self._run, name=f"guerdon-{model}", daemon=True)
        self._thread.start()

    @property
    def is_healthy(self) -> bool:
        """False once the thread is gone, and while forwards keep failing or one has stalled."""
        health = self._health
        has_stalled = self._clock() - health.busy_since > STALL_S
        return health.alive and health.failed_batches < MAX_FAILED_BATCHES and not has_stalled

    def join(self, timeout_s: float) -> bool:
        """Whether the thread has ended, waiting `timeout_s` at most; close the queue first."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        batch: list[Pending] = []
        try:
            while self._queue.wait(
                PROBE_S if self._health.failed_batches >= MAX_FAILED_BATCHES else None, self._number
            ):
                batch, expired = self._queue.take(self._clock(), self._number)
                if expired:
                    late = DeadlineExceeded("the deadline passed while the item waited; allow more time")
                    self._scatter(expired, [late] * len(expired), None)
                if batch:
                    self._forward(batch)
                elif self._health.failed_batches >= MAX_FAILED_BATCHES:
                    self._probe()
                batch = []
        except BaseException:
            log.exception("back-end thread stopped", extra={"model": self._model})
        finally:
            # However the thread ends, nobody is left waiting.
            self._health.alive = False
            left = batch + self._queue.close()
            gone = BackendFailed("the back end stopped; see the service's log")
            self._scatter(left, [gone] * len(left), None)

    def _forward(self, batch: list[Pending]) -> None:
        self._num_deaths = 0
        started = self._clock()
        answers, num_computed = self._answers(batch)
        done = self._clock()
        for pending in batch:
            pending.done_at = done
        scored = [p.encoded for p, a in zip(batch, answers, strict=True) if not isinstance(a, GuerdonError)]
        # a process that was started again has proved itself before it takes work
        is_suspect = not scored and not self._num_deaths
        if scored:
            self._known, self._health.failed_batches = scored[-1], 0
        elif is_suspect:
            self._known = self._known or batch[-1].encoded
            self._health.failed_batches += 1
        num_tokens = sum(p.encoded.num_tokens for p in batch)
        self._scatter(
            batch,
            answers,
            BatchReport(
                len(batch),
                num_tokens,
                num_computed,
                done - started,
                failed=num_computed == 0,
                num_running=self._queue.num_running,
            ),
        )
        if is_suspect:  # nobody waits for that
            self._probe()

    def _answers(self, batch: Sequence[Pending]) -> tuple[list[Answer], int]:
        """Answers in order, and how many tokens were computed for them.

        A forward that fails is tried again in halves: what was too large fits, and of a batch with one bad
        item only that item fails, at three times the batch's cost at most. A batch with many that kill
        processes is given up.
        """
        if self._num_deaths >= MAX_DEATHS:
            return [BackendFailed("too many back-end processes died of this item's batch")] * len(batch), 0
        tried = self._tried([p.encoded for p in batch])
        if tried is not None:
            return tried
        if len(batch) == 1:
            return [BackendFailed("the back end failed on this item; see the service's log")], 0
        half = len(batch) // 2
        (first, cost_of_first), (second, cost_of_second) = map(self._still, (batch[:half], batch[half:]))
        return first + second, cost_of_first + cost_of_second

    def _still(self, part: Sequence[Pending]) -> tuple[list[Answer], int]:
        """As `_answers`; what nobody waits for any more is left out."""
        now = self._clock()
        wanted = [p for p in part if p.is_wanted(now)]
        answers, num_computed = self._answers(wanted) if wanted else ([], 0)
        found = dict(zip(wanted, answers, strict=True))
        late = DeadlineExceeded("the deadline passed while a failed batch was tried again; allow more time")
        return [found.get(pending, late) for pending in part], num_computed

    def _tried(self, batch: Sequence[Encoded]) -> tuple[list[Answer], int] | None:
        """One forward's answers, and the tokens computed; None when it failed."""
        self._health.busy_since = self._clock()
        try:
            rows, stats = self._backend.forward(batch)
            if rows.shape != (len(batch), self._backend.num_heads):
                raise ValueError(f"{len(batch)} items gave scores of shape {rows.shape}")
            return [self._checked(row) for row in rows], stats.num_computed
        except Exception as err:
            self._num_deaths += isinstance(err, ProcessDied)
            log.exception("forward failed", extra={"model": self._model, "num_items": len(batch)})
            return None
        finally:
            self._health.busy_since = inf

    def _probe(self) -> None:
        """Tell bad items from a bad back end: where a known good item can be scored, no failure counts."""
        assert self._known is not None
        tried = self._tried([self._known])
        if tried is not None and not isinstance(tried[0][0], GuerdonError):
            self._health.failed_batches = 0

    def _checked(self, row: NDArray[np.float32]) -> Answer:
        if bool(np.isfinite(row).all()):
            return row
        log.error("a score is not finite", extra={"model": self._model})
        return BackendFailed("the back end gave a score that is not finite; see the service's log")
