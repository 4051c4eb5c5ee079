"""Bulk work asks again where a caller who waits would be told to."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from guerdon_service.core.errors import BackendFailed, Overloaded

ATTEMPTS = 4
"""How often what fails is asked: a lost connection or a full memory passes, a broken model does not."""
RETRY_S = 0.5
"""Before the second attempt, in seconds; doubled before each further one."""
MOST_S = 60.0
"""Between two attempts, whatever is said: who says a day may have room in a minute."""
GIVE_UP_S = 3600.0
"""Of waiting for room: a quota that is spent is no full queue."""

T = TypeVar("T")


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """What `ask` gives, asked again when a full queue should have room, and a few times after failures.

    Raises:
        Overloaded: there was no room for an hour.
        GuerdonError: any other error of `ask`.
    """
    num_failures, waited_s = 0, 0.0
    while True:
        try:
            return await ask()
        except Overloaded as err:
            if waited_s >= GIVE_UP_S:
                raise
            wait_s = min(MOST_S, (err.retry_after_ms or 1000) / 1000)
            await asyncio.sleep(wait_s)
            waited_s += wait_s
        except BackendFailed:
            num_failures += 1
            if num_failures == ATTEMPTS:
                raise
            await asyncio.sleep(RETRY_S * 2 ** (num_failures - 1))
