"""Counts of cache outcomes, to assert on and to wait for."""

import asyncio
from collections import Counter

from guerdon_service.core.ports import NullObserver


class RecordingObserver(NullObserver):
    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self._changed = asyncio.Event()

    def cache(self, layer: str, outcome: str, count: int) -> None:
        assert count > 0, "zero counts are noise"
        self.counts[layer, outcome] += count
        self._changed.set()

    async def until(self, layer: str, outcome: str, count: int) -> None:
        """Wait for the count to be reached; fails rather than hangs."""
        async with asyncio.timeout(30):
            while self.counts[layer, outcome] < count:
                self._changed.clear()
                await self._changed.wait()

    def take(self) -> dict[tuple[str, str], int]:
        """What was counted since the last take."""
        taken = dict(self.counts)
        self.counts.clear()
        return taken
