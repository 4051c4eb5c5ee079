"""The back-end thread: take, forward, scatter, for as long as the queue is open."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import BackendFailed, DeadlineExceeded, GuerdonError
from guerdon_service.core.ports import Backend, BatchReport, RawScores
from guerdon_service.engine.pending import Pending
from guerdon_service.engine.token_queue import TokenQueue

log = logging.getLogger(__name__)

Answer = RawScores | GuerdonError
Scatter = Callable[[Sequence[Pending], Sequence[Answer], BatchReport | None], None]

MAX_FAILED_BATCHES = 5
"""Forwards in a row that may fail whole before the worker says that it is unhealthy."""


@dataclass(slots=True)
class _Health:
    alive: bool = True
    failed_batches: int = 0


class Worker:
    """Owns the back end on one daemon thread. Work-conserving: no timer, it takes whatever waits.

    Args:
        scatter: called on the thread with a batch, its answers in order, and what the forward cost.
    """

    def __init__(
        self, model: str, backend: Backend, queue: TokenQueue, clock: Callable[[], float], scatter: Scatter
    ) -> None:
        self._model = model
        self._backend = backend
        self._queue = queue
        self._clock = clock
        self._scatter = scatter
        self._health = _Health()
        self._thread = threading.Thread(target=self._run, name=f"guerdon-{model}", daemon=True)
        self._thread.start()

    @property
    def is_healthy(self) -> bool:
        """False once the thread is gone or forwards keep failing."""
        return self._health.alive and self._health.failed_batches < MAX_FAILED_BATCHES

    def join(self) -> None:
        """Wait for the thread's end; close the queue first."""
        self._thread.join()

    def _run(self) -> None:
        batch: list[Pending] = []
        try:
            while self._queue.wait():
                batch, expired = self._queue.take(self._clock())
                if expired:
                    late = DeadlineExceeded("the deadline passed while the item waited; allow more time")
                    self._scatter(expired, [late] * len(expired), None)
                if batch:
                    self._forward(batch)
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
        started = self._clock()
        answers, num_computed = self._answers([p.encoded for p in batch])
        done = self._clock()
        for pending in batch:
            pending.done_at = done
        all_failed = all(isinstance(a, GuerdonError) for a in answers)
        self._health.failed_batches = self._health.failed_batches + 1 if all_failed else 0
        num_tokens = sum(p.encoded.num_tokens for p in batch)
        self._scatter(
            batch, answers, BatchReport(len(batch), num_tokens, num_computed, done - started, num_computed == 0)
        )

    def _answers(self, batch: Sequence[Encoded]) -> tuple[list[Answer], int]:
        """Answers in order, and how many tokens were computed for them.

        A forward that fails is tried again in halves: what was too large fits, and of a batch with one bad
        item only that item fails, at three times the batch's cost at most.
        """
        try:
            rows, stats = self._backend.forward(batch)
            if rows.shape != (len(batch), self._backend.num_heads):
                raise ValueError(f"{len(batch)} items gave scores of shape {rows.shape}")
            return [self._checked(row) for row in rows], stats.num_computed
        except Exception:
            log.exception("forward failed", extra={"model": self._model, "num_items": len(batch)})
        if len(batch) == 1:
            return [BackendFailed("the back end failed on this item; see the service's log")], 0
        half = len(batch) // 2
        (first, cost_of_first), (second, cost_of_second) = map(self._answers, (batch[:half], batch[half:]))
        return first + second, cost_of_first + cost_of_second

    def _checked(self, row: NDArray[np.float32]) -> Answer:
        if bool(np.isfinite(row).all()):
            return row
        log.error("a score is not finite", extra={"model": self._model})
        return BackendFailed("the back end gave a score that is not finite; see the service's log")
