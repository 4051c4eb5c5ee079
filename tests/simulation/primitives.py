"""Stand-ins for the event loop and for what the engine takes from `threading`, on a `World`."""

import asyncio
from collections.abc import Callable
from math import inf
from typing import Any

from tests.simulation.world import Strand, World


class SimulatedLoop(asyncio.BaseEventLoop):
    """asyncio's own event loop; only its clock, its selector and its executor are the world's."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self._selector = self

    def time(self) -> float:
        return self._world.now

    def select(self, timeout: float | None) -> list[object]:
        """What asyncio calls when it has run all that was ready."""
        self._world.pass_time(timeout)
        return []

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        future = self.create_future()

        def run() -> None:
            try:
                result = func(*args)
            except Exception as error:
                self.call_soon_threadsafe(_settle, future, None, error)
            else:
                self.call_soon_threadsafe(_settle, future, result, None)

        self._world.start(run)
        return future

    def _process_events(self, event_list: list[object]) -> None:
        """There are no sockets."""

    def _write_to_self(self) -> None:
        """The world wakes the loop without a pipe."""


class SimulatedThreading:
    """What `guerdon_service.engine` uses of the module `threading`."""

    def __init__(self, world: World) -> None:
        self._world = world

    def Condition(self) -> "Condition":
        return Condition(self._world)

    def Thread(self, *, target: Callable[[], object], name: str, daemon: bool) -> "Thread":
        assert daemon, "a hanging back end must not keep the process alive"
        return Thread(self._world, target)


class Condition:
    """A lock that is never contended, because threads are only interrupted outside; and lost wake-ups."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._asleep: list[list[bool]] = []

    def __enter__(self) -> None:
        self._world.preempt()

    def __exit__(self, *_: object) -> None:
        pass

    def wait_for(self, predicate: Callable[[], bool], timeout: float | None) -> bool:
        wake_at = inf if timeout is None else self._world.now + timeout
        while not predicate() and self._world.now < wake_at:
            is_woken = [False]
            self._asleep.append(is_woken)
            self._world.pause(lambda: is_woken[0], wake_at)  # noqa: B023 - read before the next round
        return predicate()

    def notify(self) -> None:
        if self._asleep:
            self._asleep.pop(0)[0] = True

    def notify_all(self) -> None:
        while self._asleep:
            self._asleep.pop()[0] = True


class Thread:
    """A thread of the world."""

    def __init__(self, world: World, target: Callable[[], object]) -> None:
        self._world = world
        self._target = target
        self._strand: Strand | None = None

    def start(self) -> None:
        self._strand = self._world.start(self._target)

    def join(self, timeout: float) -> None:
        strand = self._strand
        assert strand is not None
        self._world.pause(lambda: strand.is_over, self._world.now + timeout)

    def is_alive(self) -> bool:
        return self._strand is not None and not self._strand.is_over


def _settle(future: asyncio.Future[Any], result: object, error: Exception | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
