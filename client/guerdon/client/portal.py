"""An event loop in a thread of its own, for callers that have none or are inside another one."""

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
GRACE_S = 1.0
"""What is left behind by calls has this long to end by itself."""


class Portal:
    """Runs coroutines from any thread. The thread is a daemon, so it never keeps a process alive."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="guerdon-client", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Result of the coroutine; it is cancelled when the waiting is interrupted, as by Ctrl-C.

        Raises:
            RuntimeError: it is asked from within a coroutine that runs here, and would wait for itself.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError(
                "a callback called the client that it was called by; do so after that call, or from a thread"
            )
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Stop the loop and its thread. In a forked child, where neither runs, nothing is left to stop."""
        if self._loop.is_closed() or self.pid != os.getpid():
            return
        asyncio.run_coroutine_threadsafe(_end_tasks(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _end_tasks() -> None:
    """Let what a call left behind end while the loop still runs; one that stops first complains about it.

    A stream that was left early is closed by tasks, one after the other for the generators within it.
    """
    current = asyncio.current_task()
    try:
        async with asyncio.timeout(GRACE_S):
            while tasks := asyncio.all_tasks() - {current}:
                await asyncio.wait(tasks)
            await asyncio.get_running_loop().shutdown_asyncgens()
    except TimeoutError:
        tasks = asyncio.all_tasks() - {current}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=GRACE_S)
