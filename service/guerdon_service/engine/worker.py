"""The back-end thread: take, forward, scatter, for as long as the queue is open."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
        num_computed = 0
        failed = False
        try:
            rows, stats = self._backend.forward([p.encoded for p in batch])
            num_computed = stats.num_computed
            answers = [self._checked(row) for row in rows]
        except Exception:
            log.exception("forward failed", extra={"model": self._model, "num_items": len(batch)})
            failed = True
            answers = self._one_by_one(batch)
        done = self._clock()
        for pending in batch:
            pending.done_at = done
        all_failed = all(isinstance(a, GuerdonError) for a in answers)
        self._health.failed_batches = self._health.failed_batches + 1 if all_failed else 0
        num_tokens = sum(p.encoded.num_tokens for p in batch)
        self._scatter(
            batch, answers, BatchReport(len(batch), num_tokens, num_computed, done - started, failed)
        )

    def _one_by_one(self, batch: list[Pending]) -> list[Answer]:
        """Alone, only the item that is to blame fails."""
        answers: list[Answer] = []
        for pending in batch:
            try:
                rows, _ = self._backend.forward([pending.encoded])
                answers.append(self._checked(rows[0]))
            except Exception:
                log.exception("forward of one item failed", extra={"model": self._model})
                answers.append(BackendFailed("the back end failed on this item; see the service's log"))
        return answers

    def _checked(self, row: NDArray[np.float32]) -> Answer:
        if bool(np.isfinite(row).all()):
            return row
        log.error("a score is not finite", extra={"model": self._model})
        return BackendFailed("the back end gave a score that is not finite; see the service's log")
