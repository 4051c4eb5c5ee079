"""Who is let into an engine's queue: what there is room for, and what can be done in time."""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

from guerdon_service.core.errors import Overloaded
from guerdon_service.core.query import Lane
from guerdon_service.engine.caution import Caution
from guerdon_service.engine.throughput import Throughput
from guerdon_service.engine.token_queue import TokenQueue

HUNGRY_S = 2.0
"""For so long after it was refused a tenant is expected back. Else the greediest one, who asks most often,
would fill what the others leave for a moment: whenever the event loop is late, they have nothing waiting."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """by_estimate: because its wait was estimated to end before its deadline.
    overtaking: tokens of its tenant that may come later and go first."""

    by_estimate: bool
    overtaking: float


class Admission:
    """Knows the pace of the forwards, and how far estimates by it were off.

    Args:
        num_engines: how many work at the queue at that pace each.
    """

    def __init__(
        self,
        model: str,
        queue: TokenQueue,
        max_queued_tokens: int,
        clock: Callable[[], float],
        num_engines: Callable[[], int],
    ) -> None:
        self._model, self._queue, self._limit = model, queue, max_queued_tokens
        self._clock, self._num_engines = clock, num_engines
        self._throughput = Throughput()
        self._caution = {lane: Caution() for lane in Lane}
        self._refused: dict[Lane, dict[str, float]] = {lane: {} for lane in Lane}
        """When tenants were refused last, the latest at the end."""

    def admit(self, lane: Lane, tenant: str, num_tokens: int, left_s: float) -> Admitted:
        """Let so many more tokens in, which should be done within `left_s`.

        A tenant may fill as much of the queue as it leaves free (dynamic thresholds, Choudhury and Hahne
        1998), so there is room for others whatever it does. An empty queue takes a request of any size, else
        a large one could never be served, nor a wrong estimate be corrected.

        Raises:
            Overloaded: the queue has no room for them, or too little time.
        """
        queued = self._queue.num_tokens
        is_bounded, is_known = queued > 0 and num_tokens > 0, self._throughput.is_known
        if is_bounded:
            excess = queued + self._queue.waiting_of(tenant) + num_tokens - self._limit
            if excess > 0:
                reason = (
                    f"max_queued_tokens {self._limit} leaves no room for {num_tokens} more of this caller"
                )
                raise self._overloaded(reason, self.seconds_for(excess))
        token_s = self.seconds_for(1)
        if not is_known or not token_s:
            return Admitted(queued > 0 and is_known, math.inf)
        factor = self._caution[lane].factor(self._clock())
        num_before = self._queue.tokens_before(lane, tenant, num_tokens, self._hungry(lane))
        wait_s = factor * token_s * num_before
        if is_bounded and wait_s > left_s:
            if factor * token_s * num_tokens <= left_s:  # else nobody could serve it, and nobody waits for it
                self._refused[lane].pop(tenant, None)
                self._refused[lane][tenant] = self._clock()
            reason = f"that is more work than can be done within {left_s:.3g} s"
            raise self._overloaded(reason, wait_s - left_s)
        spare = max(0.0, left_s / factor / token_s - num_before)
        return Admitted(queued > 0, spare / max(1, self._queue.num_tenants(lane)))

    def late(self, lane: Lane, queued_at: float) -> None:
        """What was admitted by an estimate waited too long."""
        self._caution[lane].late(queued_at, self._clock())

    def forwarded(self, num_tokens: int, seconds: float) -> None:
        """A forward had so many tokens and took so long with the cores for itself."""
        self._throughput.add(num_tokens, seconds)

    def seconds_for(self, num_tokens: float) -> float:
        """Seconds that `num_tokens` should take; one second before anything was measured."""
        return self._throughput.seconds_for(num_tokens) / max(1, self._num_engines())

    def caution(self) -> dict[str, float]:
        """By lane, what estimated waits are multiplied by now."""
        return {lane.value: caution.factor(self._clock()) for lane, caution in self._caution.items()}

    def _hungry(self, lane: Lane) -> Collection[str]:
        """Tenants that were refused lately."""
        refused, since = self._refused[lane], self._clock() - HUNGRY_S
        while refused and refused[first := next(iter(refused))] < since:
            del refused[first]
        return refused.keys()

    def _overloaded(self, reason: str, wait_s: float) -> Overloaded:
        wait_ms = max(1, math.ceil(1000 * wait_s))
        queued = self._queue.num_tokens
        message = f"model {self._model} has {queued} tokens waiting; {reason}; retry after {wait_ms} ms"
        return Overloaded(message, retry_after_ms=wait_ms)
