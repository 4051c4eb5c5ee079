"""The same work for many places of a list, a few at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def at_once(work: Callable[[int], Awaitable[T]], num: int, limit: int) -> list[T]:
    """``work(0)`` to ``work(num - 1)``, at most `limit` of them running; results in that order.

    The first failure cancels the others; of several at that time the first in order is raised.
    """
    places = iter(range(num))
    found: dict[int, T] = {}
    failures: dict[int, Exception] = {}

    async def take() -> None:
        for i in places:
            try:
                found[i] = await work(i)
            except Exception as err:
                failures[i] = err
                raise

    # No TaskGroup: that of Python 3.11 loses a cancellation from outside that meets a failure.
    tasks = [asyncio.create_task(take()) for _ in range(min(num, limit))]
    try:
        with suppress(Exception):  # raised below
            await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if failures:
        raise failures[min(failures)]
    return [found[i] for i in range(num)]
