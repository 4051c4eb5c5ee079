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

T = TypeVar("T")


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """What `ask` gives, asked again when a full queue should have room, and a few times after failures."""
    num_failures = 0
    while True:
        try:
            return await ask()
        except Overloaded as err:
            await asyncio.sleep(min(MOST_S, (err.retry_after_ms or 1000) / 1000))
        except BackendFailed:
            num_failures += 1
            if num_failures == ATTEMPTS:
                raise
            await asyncio.sleep(RETRY_S * 2 ** (num_failures - 1))
