"""Bulk work waits as it is told to, but not for ever."""

import pytest

from guerdon_service.core.errors import Overloaded
from guerdon_service.scoring import patience


async def test_who_is_told_to_come_back_tomorrow_asks_again_in_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told_ms, waited_s = [86_400_000, 250, None], []

    async def sleep(seconds: float) -> None:
        waited_s.append(seconds)

    async def ask() -> str:
        if told_ms:
            raise Overloaded("the queue is full; retry later", retry_after_ms=told_ms.pop(0))
        return "scored"

    monkeypatch.setattr("guerdon_service.scoring.patience.asyncio.sleep", sleep)
    assert await patience.patiently(ask) == "scored"
    assert waited_s == [patience.MOST_S, 0.25, 1.0]
    told_ms += [86_400_000] * 1000
    with pytest.raises(Overloaded):
        await patience.patiently(ask)
    assert sum(waited_s[3:]) == patience.GIVE_UP_S
