"""Waking whoever waits for something to move, without polling and without a queue per listener."""

import asyncio


class Beat:
    """The next beat of a pulse."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        """Wake all who wait."""
        self._event.set()

    async def wait(self, at_most_s: float) -> None:
        """Return at the beat, or after `at_most_s` seconds."""
        try:
            async with asyncio.timeout(at_most_s):
                await self._event.wait()
        except TimeoutError:
            return


class Pulse:
    """Take `next` before looking, then wait for it: no beat between the two is missed. For one event loop."""

    def __init__(self) -> None:
        self._next = Beat()

    def beat(self) -> None:
        """Something moved."""
        rung, self._next = self._next, Beat()
        rung.ring()

    def next(self) -> Beat:
        """The beat to come."""
        return self._next
