"""Waiting for room on behalf of clients that would not."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from guerdon_service.core.errors import Overloaded, RateLimited

T = TypeVar("T")

MIN_WAIT_S, MAX_WAIT_S = 0.01, 1.0
"""Time between two attempts, in seconds: a queue that empties at once is not asked in a tight loop, and
nobody waits longer for an estimate than the client itself would."""


async def patiently(
    attempt: Callable[[float], Awaitable[T]], deadline_s: float, sleep: Callable[[float], Awaitable[object]]
) -> T:
    """What `attempt` gives once the queue has room.

    Trainers' clients ignore ``Retry-After``: they try again at a fixed second, a few times, and then train
    without a reward. So a full queue holds them, by its own estimate of when it has room; a key's rate
    likewise, whose time is exact: what comes back only after the deadline is not waited for.

    Args:
        attempt: takes the seconds that are left.
        sleep: takes seconds.

    Raises:
        Overloaded: there was no room before `deadline_s` had passed.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + deadline_s
    while True:
        try:
            return await attempt(max(deadline - clock(), MIN_WAIT_S))
        except Overloaded as error:
            remaining_s, told_s = deadline - clock(), (error.retry_after_ms or 0) / 1000
            if remaining_s <= MIN_WAIT_S or (isinstance(error, RateLimited) and told_s > remaining_s):
                raise
            wait_s = min(max(told_s, MIN_WAIT_S), MAX_WAIT_S)
            await sleep(min(wait_s, remaining_s))
