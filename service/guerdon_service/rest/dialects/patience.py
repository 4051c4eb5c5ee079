"""Waiting for room on behalf of clients that would not."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from guerdon_service.core.errors import Overloaded

T = TypeVar("T")

MIN_WAIT_S = 0.01
"""Least time between two attempts, in seconds: a queue that empties at once is not asked in a tight loop."""


async def patiently(
    attempt: Callable[[float], Awaitable[T]], deadline_s: float, sleep: Callable[[float], Awaitable[object]]
) -> T:
    """What `attempt` gives once the queue has room.

    Trainers' clients ignore ``Retry-After``: they try again at a fixed second, a few times, and then train
    without a reward. So a full queue holds them, by its own estimate of when it has room.

    Args:
        attempt: takes the seconds that are left.
        sleep: takes seconds.

    Raises:
        Overloaded: there will be no room before `deadline_s` has passed.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + deadline_s
    while True:
        try:
            return await attempt(max(deadline - clock(), MIN_WAIT_S))
        except Overloaded as error:
            wait_s = max((error.retry_after_ms or 0) / 1000, MIN_WAIT_S)
            if clock() + wait_s >= deadline:
                raise
            await sleep(wait_s)
