"""Waiting for room, without waiting."""

import asyncio

import pytest

from guerdon_service.core.errors import NotReady, Overloaded, RateLimited
from guerdon_service.dialects.patience import MAX_WAIT_S, MIN_WAIT_S, patiently


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
    attempts = Attempts(full(500), full(0), full(None), full(90_000))
    assert await patiently(attempts.attempt, 60.0, attempts.sleep) == "scored"
    assert attempts.waited == [0.5, MIN_WAIT_S, MIN_WAIT_S, MAX_WAIT_S]
    assert all(0 < remaining <= 60 for remaining in attempts.remaining)
    assert attempts.remaining == sorted(attempts.remaining, reverse=True)


async def test_held_until_the_deadline_even_if_the_estimate_is_later() -> None:
    attempts = Attempts(*(full(30_000) for _ in range(50)))
    with pytest.raises(Overloaded):
        await patiently(attempts.attempt, 0.05, asyncio.sleep)
    assert len(attempts.remaining) > 1
    assert min(attempts.remaining) >= MIN_WAIT_S


async def test_other_errors_are_not_waited_for() -> None:
    attempts = Attempts(NotReady("draining; ask another", retry_after_ms=1))
    with pytest.raises(NotReady):
        await patiently(attempts.attempt, 60.0, attempts.sleep)
    assert attempts.waited == []


async def test_a_spent_rate_is_waited_for_and_a_spent_quota_is_not() -> None:
    soon, tomorrow = (RateLimited("spent; wait", retry_after_ms=ms) for ms in (700, 80_000_000))
    attempts = Attempts(soon)
    assert await patiently(attempts.attempt, 60.0, attempts.sleep) == "scored"
    assert attempts.waited == [0.7]
    attempts = Attempts(tomorrow)
    with pytest.raises(RateLimited):
        await patiently(attempts.attempt, 60.0, attempts.sleep)
    assert attempts.waited == []
