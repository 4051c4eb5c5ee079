"""The calls under way, so that a stopping service can wait for them and answer every one."""

import asyncio
from contextlib import AbstractContextManager
from typing import Any

from guerdon_service.app.logs import logged_request
from guerdon_service.core.errors import NotReady

RETRY_MS = 1000
"""When a caller who is sent away may ask again, in milliseconds: by then a balancer knows."""

_Tasks = set[asyncio.Task[Any]]


class InFlight:
    """Counts calls and refuses new ones once draining. For one event loop.

    Calls that were accepted may make further ones of the domain layer while it drains, as best-of-n does,
    so it is this that refuses and not the domain layer.
    """

    def __init__(self) -> None:
        self.is_draining = False
        self._calls: set[asyncio.Task[Any]] = set()
        self._followers: set[asyncio.Task[Any]] = set()
        self._sent_away: set[asyncio.Task[Any]] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def num_calls(self) -> int:
        """Calls under way, followers included."""
        return len(self._calls) + len(self._followers)

    async def idle(self) -> None:
        """Return once no call is under way."""
        await self._idle.wait()

    def begin_drain(self) -> None:
        """Refuse new calls and end followers with `NotReady`; other calls under way go on."""
        self.is_draining = True
        self._send_away(self._followers)

    def abandon(self) -> None:
        """End every call under way with `NotReady`, so that even those callers get an answer."""
        self._send_away(self._calls)

    def call(self, request_id: str = "", *, follows: bool = False) -> AbstractContextManager[None]:
        """The body is a call of the current task; its log lines carry `request_id`.

        Args:
            follows: it only watches work that another replica can show as well, so draining ends it.

        Raises:
            NotReady: the service drains, or the call was sent away.
        """
        return _Call(self, request_id, self._followers if follows else self._calls)

    def _begin(self, calls: _Tasks) -> asyncio.Task[Any]:
        if self.is_draining:
            raise NotReady("the service is draining; ask another replica", retry_after_ms=RETRY_MS)
        task = asyncio.current_task()
        assert task is not None
        calls.add(task)
        self._idle.clear()
        return task

    def _end(self, calls: _Tasks, task: asyncio.Task[Any], error: BaseException | None) -> None:
        was_sent_away = task in self._sent_away
        calls.remove(task)
        self._sent_away.discard(task)
        if not (self._calls or self._followers):
            self._idle.set()
        if was_sent_away and isinstance(error, asyncio.CancelledError):
            task.uncancel()
            raise NotReady(
                "the service stopped first; ask another replica", retry_after_ms=RETRY_MS
            ) from None

    def _send_away(self, tasks: set[asyncio.Task[Any]]) -> None:
        self._sent_away |= tasks
        for task in tasks:
            task.cancel()


class _Call:
    """Of every request: a class, as a generator would cost it more than all that it does."""

    __slots__ = ("_calls", "_host", "_logged", "_task")

    def __init__(self, host: InFlight, request_id: str, calls: _Tasks) -> None:
        self._host, self._logged, self._calls = host, logged_request(request_id), calls

    def __enter__(self) -> None:
        self._task = self._host._begin(self._calls)
        self._logged.__enter__()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._logged.__exit__()
        self._host._end(self._calls, self._task, error)
