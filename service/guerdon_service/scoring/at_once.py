"""The same work for many places of a list, a few at a time."""

import asyncio
from collections.abc import Awaitable, Callable
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

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(num, limit)):
                group.create_task(take())
    except ExceptionGroup:
        first = failures[min(failures)]
        raise first from first.__cause__
    return [found[i] for i in range(num)]
