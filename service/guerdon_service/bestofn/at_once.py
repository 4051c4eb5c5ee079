"""The same work for many places of a list, a few at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def at_once(work: Callable[[int], Awaitable[T]], num: int, limit: int) -> list[T]:
    """``work(0)`` to ``work(num - 1)``, at most `limit` of them running; results in that order.

    The first failure cancels the others and is raised.
    """
    places = iter(range(num))
    found: dict[int, T] = {}

    async def take() -> None:
        for i in places:
            found[i] = await work(i)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(limit):
                group.create_task(take())
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from failed.exceptions[0].__cause__
    return [found[i] for i in range(num)]
