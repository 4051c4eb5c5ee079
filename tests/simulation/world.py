"""The world of one history: its time, its chance, and its threads, all inside one real thread."""

import random
from collections.abc import Callable
from math import inf

from greenlet import getcurrent, greenlet

JITTER_S = 1e-4
"""Reading the clock takes up to this long, so no two readings are equal."""
HICCUP_S = 0.05
"""And so long when the thread is put aside over it."""
PREEMPTION = 0.3
"""Probability that a thread loses the processor where it may."""


class Stuck(AssertionError):
    """Nothing can ever happen again, and somebody still waits."""


class Strand:
    """A simulated thread: runs until it pauses, and goes on when the world lets it."""

    def __init__(self, world: "World", target: Callable[[], object]) -> None:
        self._world = world
        self._greenlet = greenlet(target, parent=world.main)
        self.wake_at = inf
        self.until = _at_once

    @property
    def is_over(self) -> bool:
        return bool(self._greenlet.dead)

    def can_run(self) -> bool:
        return self._world.now >= self.wake_at or self.until()

    def resume(self) -> None:
        self._greenlet.switch()

    def owns(self, current: object) -> bool:
        return self._greenlet is current


class World:
    """Everything that is chance or time in one history comes from `seed`."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.hiccup_share = 0.0
        self.now = 1000.0
        self.main = getcurrent()
        self.trace: list[str] = []
        self.violations: list[str] = []
        self._strands: list[Strand] = []

    def note(self, *words: object) -> None:
        """Remember what happened, for the one who replays."""
        self.trace.append(f"{self.now:12.6f} " + " ".join(map(str, words)))

    def require(self, holds: bool, promise: str) -> None:
        """An invariant. Not an assertion, because the engine outlives what its back end raises."""
        if not holds:
            self.note("VIOLATION", promise)
            self.violations.append(promise)

    def clock(self) -> float:
        """Monotonic seconds; whoever reads them may then be interrupted."""
        is_hiccup = self.random.random() < self.hiccup_share
        self.now += HICCUP_S if is_hiccup else self.random.random() * JITTER_S
        read = self.now
        self.preempt()
        return read

    def start(self, target: Callable[[], object]) -> Strand:
        """A new thread."""
        self._strands.append(Strand(self, target))
        return self._strands[-1]

    def pause(self, until: Callable[[], bool], wake_at: float = inf) -> None:
        """The current thread waits for the one or the other."""
        strand = next(s for s in self._strands if s.owns(getcurrent()))
        strand.until, strand.wake_at = until, wake_at
        self.main.switch()

    def sleep(self, seconds: float) -> None:
        """The current thread is busy for so long."""
        self.pause(_never, self.now + seconds)

    def preempt(self) -> None:
        """Here a real machine may run any other thread first."""
        if getcurrent() is not self.main:
            if self.random.random() < PREEMPTION:
                self.pause(_at_once)
        else:
            while self.random.random() < PREEMPTION and self.run_one():
                pass

    def run_one(self) -> bool:
        """Resume one thread that can run, if there is one."""
        self._strands = [s for s in self._strands if not s.is_over]
        able = [s for s in self._strands if s.can_run()]
        if able:
            self.random.choice(able).resume()
        return bool(able)

    def pass_time(self, timeout: float | None) -> None:
        """The event loop has nothing to do for `timeout` seconds; None: for ever.

        Raises:
            Stuck: no thread will wake it either.
        """
        if timeout is not None and timeout <= 0.0:
            self.preempt()
        elif not self.run_one():
            wake_at = min((s.wake_at for s in self._strands), default=inf)
            wake_at = wake_at if timeout is None else min(wake_at, self.now + timeout)
            if wake_at == inf:
                raise Stuck("the event loop and every thread wait for each other")
            self.now = wake_at


def _at_once() -> bool:
    return True


def _never() -> bool:
    return False
