"""Clients that ask without pause, each reply held against the true score."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import ceil
from typing import Any, TypeVar

T = TypeVar("T")

RIGHT, WRONG = "right", "wrong"
STUCK_S = 90.0
"""An answer that takes longer than this, far beyond every deadline, will never come."""
BEAT_S = 1.0
"""Patience is counted in these: while this process is halted, as by SIGSTOP, one passes, however long."""
NUM_CLIENTS = 16

Ask = Callable[[str], Coroutine[Any, Any, str]]
"""Send one response to score; `RIGHT`, `WRONG`, or the code of the error that came back."""


@dataclass
class Tally:
    """What was asked and what came back."""

    num_asked: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def num_stuck(self) -> int:
        return self.num_asked - self.outcomes.total()

    @property
    def errors(self) -> Counter[str]:
        return Counter({code: n for code, n in self.outcomes.items() if code not in (RIGHT, WRONG)})


class Load:
    """A closed loop of `NUM_CLIENTS` clients."""

    def __init__(self, ask: Ask) -> None:
        self.tally = Tally()
        self._ask = ask
        self._is_over = False
        self._changed = asyncio.Event()

    async def more(self, count: int) -> None:
        """Return once `count` more outcomes are there."""
        enough = self.tally.outcomes.total() + count

        async def until_there() -> None:
            while self.tally.outcomes.total() < enough:
                self._changed.clear()
                await self._changed.wait()

        await within(until_there(), 2 * STUCK_S)

    async def ask(self, response: str) -> str:
        """One request more than the clients ask."""
        self.tally.num_asked += 1
        try:
            outcome = await within(self._ask(response), STUCK_S)
        except TimeoutError:
            return "stuck"
        self.tally.outcomes[outcome] += 1
        self._changed.set()
        return outcome

    async def _client(self, number: int) -> None:
        count = 0
        while not self._is_over:
            count += 1
            # Two texts in three everybody asks: cache hits and shared forwards are among them.
            await self.ask(f"again {count % 7}" if count % 3 else f"{number} says {count}")

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Load"]:
        """Within, the clients ask; at its end each waits for its last answer."""
        async with asyncio.TaskGroup() as group:
            for number in range(NUM_CLIENTS):
                group.create_task(self._client(number))
            try:
                yield self
            finally:
                self._is_over = True


async def within(work: Coroutine[Any, Any, T], patience_s: float) -> T:
    """What `work` gives; raises TimeoutError after `patience_s` in which this process was alive."""
    task = asyncio.create_task(work)
    try:
        for _ in range(ceil(patience_s / BEAT_S)):
            if (await asyncio.wait([task], timeout=BEAT_S))[0]:
                return task.result()
    finally:
        task.cancel()
    raise TimeoutError
