"""A few at a time, and nothing that is asked of the whole is lost among its parts."""

import asyncio

import pytest

from guerdon_service.scoring.at_once import at_once


@pytest.mark.parametrize("num_turns", range(6))
async def test_a_cancellation_that_meets_a_failure_is_not_lost(num_turns: int) -> None:
    """Whoever goes on after a failure, as an evaluation does without the refused item, must still stop."""
    fails, going_on = asyncio.Event(), asyncio.Event()

    async def work(place: int) -> None:
        await fails.wait()
        raise ValueError(place)

    async def goes_on() -> None:
        try:
            await at_once(work, 2, 2)
        except ValueError:
            await going_on.wait()

    task = asyncio.create_task(goes_on())
    for _ in range(3):  # both parts wait
        await asyncio.sleep(0)
    fails.set()
    for _ in range(num_turns):
        await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=10)
    going_on.set()
    assert done and task.cancelled()
