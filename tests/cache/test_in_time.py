"""A late event loop is no slow server, and a slow server is given up."""

import asyncio
import time

import pytest

from guerdon_service.cache.in_time import in_time


async def test_a_late_loop_is_no_slow_server() -> None:
    reply, sent = asyncio.StreamReader(), asyncio.Event()

    async def call() -> bytes:
        sent.set()
        return await reply.readline()

    waiting = asyncio.create_task(in_time(call(), 0.01))
    await sent.wait()
    reply.feed_data(b"here\n")
    time.sleep(0.05)  # noqa: ASYNC251 the loop's own work, longer than the deadline
    assert await waiting == b"here\n"


async def test_a_slow_server_is_given_up() -> None:
    with pytest.raises(TimeoutError, match=r"no reply within 0\.01 s"):
        await in_time(asyncio.Event().wait(), 0.01)
