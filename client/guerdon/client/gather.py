"""Run many jobs, a few at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def gather_bounded(jobs: Iterable[Callable[[], Awaitable[T]]], limit: int) -> list[T]:
    """Results in the order of `jobs`, at most `limit` of them running.

    The first failure cancels the others and is raised; jobs that did not start never do.

    Raises:
        CancelledError: a job was cancelled by other than its caller.
    """
    queue = iter(enumerate(jobs))
    results: dict[int, T] = {}

    async def work() -> None:
        for i, job in queue:
            results[i] = await job()

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work()) for _ in range(limit)]
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from failed.exceptions[0].__cause__
    for task in tasks:
        task.result()  # a group passes over a job that was cancelled from elsewhere; its result is missing
    return [results[i] for i in sorted(results)]
