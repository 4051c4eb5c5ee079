"""Try again where that can help, and never past the deadline. No I/O of its own."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from guerdon.errors import DeadlineExceeded, GuerdonError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Clock:
    """Time and chance, so that tests need neither. All times in seconds."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter (Brooker, "Exponential Backoff And Jitter", AWS 2015).

    Before retry k (from 0) wait ``uniform(0, min(cap_s, base_s * 2**k))``, on top of what the service
    asked for, so that clients refused together do not come back together.
    """

    max_retries: int = 5
    base_s: float = 0.2
    cap_s: float = 10.0

    def wait_s(self, attempt: int, retry_after_s: float | None, uniform: float) -> float:
        """Seconds before retry `attempt`; `uniform` is a draw from [0, 1)."""
        return (retry_after_s or 0.0) + uniform * min(self.cap_s, self.base_s * 2.0**attempt)


@dataclass(frozen=True, slots=True)
class Deadline:
    """When a call must be over, and how long one attempt may take."""

    at: float | None
    """On the clock's scale; None: no deadline, only `attempt_s`."""
    attempt_s: float

    @staticmethod
    def after(deadline_s: float | None, attempt_s: float, clock: Clock) -> "Deadline":
        """A deadline `deadline_s` from now."""
        return Deadline(None if deadline_s is None else clock.now() + deadline_s, attempt_s)

    def left_s(self, clock: Clock) -> float:
        """Seconds that the next attempt, or the next wait, may take."""
        return self.attempt_s if self.at is None else min(self.attempt_s, self.at - clock.now())


async def retrying(
    attempt: Callable[[float], Awaitable[T]], policy: RetryPolicy, deadline: Deadline, clock: Clock
) -> T:
    """Result of the first attempt that succeeds.

    Args:
        attempt: is given the seconds it may take, and is cancelled after them.

    Raises:
        DeadlineExceeded: no time was left for an attempt, or one took all of it.
        GuerdonError: one that is not retryable, or the last one when no retry or no time for it is left.
    """
    for k in range(policy.max_retries + 1):
        left_s = deadline.left_s(clock)
        if left_s <= 0:
            raise DeadlineExceeded("the deadline passed; give a longer deadline_s", param="deadline_s")
        limit = asyncio.timeout(left_s)
        try:
            async with limit:
                return await attempt(left_s)
        except TimeoutError:
            if not limit.expired():
                raise  # a callback's own
            raise DeadlineExceeded(
                f"no answer within {left_s:.3g} s; give a longer deadline_s or timeout_s", param="deadline_s"
            ) from None
        except GuerdonError as err:
            wait_s = policy.wait_s(k, err.retry_after_s, clock.random())
            if not err.retryable or k == policy.max_retries or wait_s >= deadline.left_s(clock):
                raise
        await clock.sleep(wait_s)
    raise AssertionError("the last attempt returns or raises")
