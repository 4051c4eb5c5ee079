"""Reads of many callers in few round trips: what is asked while one is under way goes in the next."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

Values = Sequence[object]
_Question = tuple[Sequence[bytes], "asyncio.Future[Values | None]"]


class GroupedReads:
    """For one event loop.

    Args:
        fetch: one value per key, or None when none can be had; it raises nothing.
        max_keys: keys that share a round trip; a caller with more has one of its own.
    """

    def __init__(self, fetch: Callable[[Sequence[bytes]], Awaitable[Values | None]], max_keys: int) -> None:
        self._fetch = fetch
        self._max_keys = max_keys
        self._asked: deque[_Question] = deque()
        self._trips: asyncio.Task[None] | None = None

    async def read(self, keys: Sequence[bytes]) -> Values | None:
        """One value per key, or None: its round trip failed, or the one that it waited behind."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Values | None] = loop.create_future()
        self._asked.append((keys, answer))
        if self._trips is None or self._trips.done():
            self._trips = loop.create_task(self._run())
        return await answer

    async def close(self) -> None:
        """Answer who waits with None."""
        if self._trips is not None:
            self._trips.cancel()
            await asyncio.wait([self._trips])

    async def _run(self) -> None:
        while self._asked:
            group = self._next_group()
            values: Values | None = None
            try:
                values = await self._fetch([key for keys, _ in group for key in keys])
            finally:
                if values is None:  # who waited behind it has waited long enough
                    group += self._asked
                    self._asked.clear()
                _answer(group, values)

    def _next_group(self) -> list[_Question]:
        group = [self._asked.popleft()]
        room = self._max_keys - len(group[0][0])
        while self._asked and len(self._asked[0][0]) <= room:
            room -= len(self._asked[0][0])
            group.append(self._asked.popleft())
        return group


def _answer(group: Sequence[_Question], values: Values | None) -> None:
    start = 0
    for keys, answer in group:
        if not answer.done():  # else its caller has gone
            answer.set_result(None if values is None else values[start : start + len(keys)])
        start += len(keys)
