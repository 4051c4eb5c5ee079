"""Deadlines of calls to Redis that tell a slow server from a late event loop."""

import asyncio
from collections.abc import Awaitable
from typing import Any

LEAST_GRACE_S = 0.001
"""After a deadline: enough for the event loop's few turns between a reply that has come and its reader."""


async def in_time(call: Awaitable[Any], timeout_s: float) -> Any:
    """What `call` returns within `timeout_s`, and as much later as the event loop itself is late with that.

    A loop that stood still over its own work must not be believed to be a slow server.

    Raises:
        TimeoutError: it did not; it is cancelled.
    """
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(call)
    due = loop.time() + timeout_s
    try:
        await asyncio.wait([task], timeout=timeout_s)
        if not task.done():
            late_s = min(max(loop.time() - due, LEAST_GRACE_S), timeout_s)
            await asyncio.wait([task], timeout=late_s)
        if not task.done():
            raise TimeoutError(f"no reply within {timeout_s:g} s")
        return task.result()
    finally:
        task.cancel()
