"""Work that stops when nobody waits for it any more."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

T = TypeVar("T")

UNWATCHED_S = 0.005
"""Of each request, in seconds."""


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Await `work`, cancelling it when the client leaves. The body must have been read.

    Work that is soon done is not worth a watcher: nobody looks before `UNWATCHED_S`.

    Raises:
        ClientDisconnect: the client left first.
    """
    task = asyncio.current_task()
    assert task is not None
    watcher = _Watcher(request, task)
    try:
        return await work
    except asyncio.CancelledError:
        if watcher.has_cancelled:
            task.uncancel()
            raise ClientDisconnect from None
        raise
    finally:
        watcher.stop()


class _Watcher:
    """Cancels a task when its client leaves."""

    def __init__(self, request: Request, task: "asyncio.Task[Any]") -> None:
        self._request, self._task = request, task
        self._watching: asyncio.Task[None] | None = None
        self.has_cancelled = False
        self._timer = asyncio.get_running_loop().call_later(UNWATCHED_S, self._begin)

    def stop(self) -> None:
        self._timer.cancel()
        if self._watching is not None:
            self._watching.cancel()

    def _begin(self) -> None:
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self.has_cancelled = True
        self._task.cancel()
