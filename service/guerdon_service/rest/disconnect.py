"""Work that stops when nobody waits for it any more."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

T = TypeVar("T")


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Await `work`, cancelling it when the client leaves. The body must have been read.

    Raises:
        ClientDisconnect: the client left first.
    """
    running = asyncio.create_task(work)
    watcher = asyncio.create_task(_cancel_on_disconnect(request, running))
    try:
        return await running
    except asyncio.CancelledError:
        if watcher.done():
            raise ClientDisconnect from None
        raise
    finally:
        watcher.cancel()


async def _cancel_on_disconnect(request: Request, running: "asyncio.Task[T]") -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    running.cancel()
