"""The engine of one model: admission, single-flight, and an answer for everyone admitted."""

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import DeadlineExceeded, GuerdonError, NotReady
from guerdon_service.core.limits import Limits
from guerdon_service.core.ports import (
    Backend,
    BatchReport,
    Observer,
    ParallelBackend,
    ProcessBackend,
    RawScores,
)
from guerdon_service.core.query import Lane
from guerdon_service.engine.admission import Admission
from guerdon_service.engine.pending import Pending
from guerdon_service.engine.token_queue import EXPRESS, TokenQueue
from guerdon_service.engine.worker import Answer, Worker

log = logging.getLogger(__name__)

TIMER_S = 0.01
"""How much sooner than the engine's clock the event loop's may reach a deadline."""
CLOSE_TIMEOUT_S = 30.0
"""What a forward may take before nobody waits for it any more; a batch takes well under a second."""


@dataclass(frozen=True, slots=True)
class EngineScores:
    """Raw scores in the order asked for, and how long they took, in seconds."""

    raw: list[RawScores]
    queue_s: float
    forward_s: float


class Engine:
    """Scores token sequences with one back end. Create it inside the event loop that will use it.

    One queue, and a thread that takes from it for each forward that the back end can run at once. Where these
    share the cores, one more takes what is short while they are all busy: the system's scheduler gives it
    its part of the cores at once.
    """

    def __init__(
        self,
        model: str,
        backend: Backend,
        limits: Limits,
        observer: Observer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._backend = backend
        self._observer = observer
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._in_flight: dict[bytes, Pending] = {}
        self._processes = backend if isinstance(backend, ProcessBackend) else None
        self._num_parallel = backend.num_parallel if isinstance(backend, ParallelBackend) else 1
        self._queue = TokenQueue(limits.max_batch_tokens, self._num_parallel)
        self._admission = Admission(model, self._queue, limits.max_queued_tokens, clock, self._num_engines)
        num_workers = self._processes.num_processes if self._processes else self._num_parallel
        start = partial(Worker, model, backend, self._queue, clock, self._scatter_threadsafe)
        self._workers = [start(number) for number in range(num_workers)]
        self._express = [start(EXPRESS)] if self._num_parallel > 1 else []
        if self._processes:
            self._processes.watch(partial(observer.engine_processes, model))

    @property
    def is_healthy(self) -> bool:
        """False once a thread is gone, hangs or keeps failing, or no process lives; readiness follows it."""
        if self._processes:
            return self._processes.num_live > 0 and any(worker.is_healthy for worker in self._workers)
        return all(worker.is_healthy for worker in itertools.chain(self._workers, self._express))

    def state(self) -> Mapping[str, Any]:
        """What whoever is on call wants to know.

        `wait_s` is how long what is queued should take, `caution` what that is multiplied by at admission.
        """
        return {
            "healthy": self.is_healthy,
            "queued_items": self._queue.num_items,
            "queued_tokens": self._queue.num_tokens,
            "in_flight_items": len(self._in_flight),
            "wait_s": self._admission.seconds_for(self._queue.num_tokens),
            "caution": self._admission.caution(),
            "processes": self._processes.processes() if self._processes else [],
        }

    def check_room(self, num_items: int, *, deadline: float, lane: Lane, tenant: str) -> None:
        """Refuse before they are tokenized what would be refused if each had a single token.

        Raises:
            Overloaded: as `score`.
        """
        self._admission.admit(lane, tenant, num_items, deadline - self._clock())

    async def score(
        self,
        encoded: Sequence[Encoded],
        keys: Sequence[bytes],
        *,
        deadline: float,
        lane: Lane,
        tenant: str = "",
    ) -> EngineScores:
        """Raw scores of all sequences.

        Args:
            encoded: at least one sequence.
            keys: their fingerprints; equal keys in flight share one forward.
            deadline: monotonic seconds after which a waiting sequence is dropped.
            tenant: who asks; tenants that wait in one lane get equally many tokens.

        Raises:
            Overloaded: the queue has no room for all of them, or they could not be done in time; none was
                admitted.
            DeadlineExceeded: one waited past the deadline.
            NotReady: the back-end thread is gone.
            BackendFailed: a forward failed for one of these sequences.
        """
        pendings = self._admit(encoded, keys, deadline, lane, tenant)
        futures = {p.future for p in pendings}
        try:
            # Waiting does not cancel the futures when this caller is cancelled: others may share them.
            done, _ = await asyncio.wait(futures, return_when=asyncio.FIRST_EXCEPTION)
            for pending in pendings:  # in their order, so that equal requests give equal errors
                error = pending.future.exception() if pending.future in done else None
                if isinstance(error, GuerdonError):
                    raise type(error)(error.message, retry_after_ms=error.retry_after_ms)
            raw = [p.future.result() for p in pendings]
        finally:
            self._leave(pendings)
        started = min(p.started_at for p in pendings)
        queue_s = max(0.0, *(p.started_at - p.queued_at for p in pendings))
        return EngineScores(raw, queue_s, max(p.done_at for p in pendings) - started)

    async def close(self) -> None:
        """Answer what waits, end the threads after their current forwards, free the model.

        A forward that hangs is left alone with the model, so that it keeps nobody from stopping; one in a
        process ends with it.
        """
        left = self._queue.close()
        self._scatter(left, [NotReady("the model is being unloaded; ask again later")] * len(left), None)
        if self._processes and not self._processes.num_live:
            await asyncio.to_thread(self._processes.close)  # else who waits for one to come back waits on
        ended = await asyncio.gather(
            *(
                asyncio.to_thread(worker.join, CLOSE_TIMEOUT_S)
                for worker in itertools.chain(self._workers, self._express)
            )
        )
        if self._processes:
            await asyncio.to_thread(self._processes.close)
        elif all(ended):
            await asyncio.to_thread(self._backend.close)  # gigabytes take their time
        else:
            log.error("a forward hangs; its model is not freed", extra={"model": self._model})

    def _admit(
        self, encoded: Sequence[Encoded], keys: Sequence[bytes], deadline: float, lane: Lane, tenant: str
    ) -> list[Pending]:
        fresh: dict[bytes, Pending] = {}
        pendings: list[Pending] = []
        now = self._clock()
        for key, item in zip(keys, encoded, strict=True):
            pending = fresh.get(key) or self._in_flight.get(key)
            if pending is None or not self._queue.join(pending, deadline, lane, now):
                prefix = item.input_ids[: item.prefix_len].tobytes() if self._backend.shares_prefix else None
                future = self._loop.create_future()
                pending = fresh[key] = Pending(key, item, lane, deadline, prefix, future, now, tenant)
            pendings.append(pending)
        num_tokens = sum(p.encoded.num_tokens for p in fresh.values())
        try:
            admitted = self._admission.admit(lane, tenant, num_tokens, deadline - now)
            for pending in fresh.values():
                pending.overtaking, pending.by_estimate = admitted.overtaking, admitted.by_estimate
            if not self._queue.put(fresh.values()):
                raise NotReady(f"model {self._model} has no back end any more; ask again later")
        except GuerdonError:
            self._leave(pendings)
            raise
        self._in_flight.update(fresh)
        self._observer.queued(self._model, self._queue.num_items, self._queue.num_tokens)
        return pendings

    def _leave(self, pendings: Sequence[Pending]) -> None:
        """One waiter of each has gone; what nobody waits for is dropped before its forward."""
        for pending in pendings:
            pending.waiters -= 1
            if pending.waiters == 0 and not pending.future.done():
                pending.future.cancel()
                self._queue.forget(pending)
                if pending.by_estimate and self._clock() > pending.deadline - TIMER_S:
                    self._admission.late(pending.lane, pending.queued_at)
                if self._in_flight.get(pending.key) is pending:
                    del self._in_flight[pending.key]

    def _scatter_threadsafe(
        self, batch: Sequence[Pending], answers: Sequence[Answer], report: BatchReport | None
    ) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._scatter, batch, answers, report)

    def _scatter(
        self, batch: Sequence[Pending], answers: Sequence[Answer], report: BatchReport | None
    ) -> None:
        for pending, answer in zip(batch, answers, strict=True):
            if self._in_flight.get(pending.key) is pending:
                del self._in_flight[pending.key]
            if pending.future.done():
                continue
            if pending.by_estimate and (isinstance(answer, DeadlineExceeded) or pending.is_late):
                self._admission.late(pending.lane, pending.queued_at)
            if isinstance(answer, GuerdonError):
                pending.future.set_exception(answer)
                pending.future.exception()  # seen: its waiters may all have left
            else:
                pending.future.set_result(answer)
        if report is not None:
            self._admission.forwarded(report.num_tokens, report.forward_s / self._num_sharing(report))
            self._observer.batch(self._model, report)
        self._observer.queued(self._model, self._queue.num_items, self._queue.num_tokens)

    def _num_sharing(self, report: BatchReport) -> int:
        """By how many forwards like this one the cores can be shared; processes have their own.

        A lone conversation of an encoder has its part of the cores even when nothing else runs.
        """
        if self._processes:
            return 1
        is_lone = report.num_items == 1 and not self._backend.shares_prefix
        return max(report.num_running, self._num_parallel if is_lone else 1)

    def _num_engines(self) -> int:
        return self._processes.num_live if self._processes else 1
