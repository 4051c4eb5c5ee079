"""Waiting for room, without waiting."""

import pytest

from guerdon_service.core.errors import NotReady, Overloaded
from guerdon_service.rest.dialects.patience import MIN_WAIT_S, patiently


class Attempts:
    """Refusals in turn, then an answer; `sleep` only takes notes."""

    def __init__(self, *refusals: Exception) -> None:
        self.refusals = list(refusals)
        self.waited: list[float] = []
        self.remaining: list[float] = []

    async def attempt(self, remaining_s: float) -> str:
        self.remaining.append(remaining_s)
        if self.refusals:
            raise self.refusals.pop(0)
        return "scored"

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)


def full(retry_after_ms: int | None) -> Overloaded:
    return Overloaded("the queue is full; retry later", retry_after_ms=retry_after_ms)


async def test_waits_as_long_as_the_queue_says() -> None:
    attempts = Attempts(full(1500), full(0), full(None))
    assert await patiently(attempts.attempt, 60.0, attempts.sleep) == "scored"
    assert attempts.waited == [1.5, MIN_WAIT_S, MIN_WAIT_S]
    assert all(0 < remaining <= 60 for remaining in attempts.remaining)
    assert attempts.remaining == sorted(attempts.remaining, reverse=True)


async def test_refused_at_once_when_room_comes_after_the_deadline() -> None:
    attempts = Attempts(full(3000))
    with pytest.raises(Overloaded):
        await patiently(attempts.attempt, 2.0, attempts.sleep)
    assert attempts.waited == []


async def test_other_errors_are_not_waited_for() -> None:
    attempts = Attempts(NotReady("draining; ask another", retry_after_ms=1))
    with pytest.raises(NotReady):
        await patiently(attempts.attempt, 60.0, attempts.sleep)
    assert attempts.waited == []
