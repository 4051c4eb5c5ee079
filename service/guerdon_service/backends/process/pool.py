"""All engine processes of one model, as one back end."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guerdon_service.backends.process.engine_process import EngineProcess, Greeting, Launch
from guerdon_service.backends.process.keeper import Keeper
from guerdon_service.backends.process.patience import Patience
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.ports import ForwardStats, ProcessDied

Scored = tuple[NDArray[np.float32], ForwardStats]


class EnginePool:
    """`core.ports.ProcessBackend`: a process for each launch, started again whenever it ends.

    A batch goes to whichever process has been free for longest. A process that was started again, or whose
    forward raised, must first give the first batch that was ever scored the same bits; else it is ended.

    Raises:
        InvalidInput: a process refuses to load, cannot, or is another back end than the others.
    """

    def __init__(self, launches: Sequence[Launch], patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._changed = threading.Condition()
        self._free: deque[EngineProcess] = deque()
        self._down_since = inf
        self._closed = False
        self._proof: tuple[Sequence[Encoded], bytes] | None = None
        self._tell: Callable[[int, bool], None] = lambda num_live, restarted: None
        self._keepers = [Keeper(launch, self._patience) for launch in launches]
        try:
            self._greeting = self._greet_all()
        except BaseException:
            self.close()
            raise
        for keeper in self._keepers:
            self._join(keeper)
            keeper.keep(self._admit, self._lose)

    @property
    def name(self) -> str:
        """Of the back end in the processes: where it runs changes no bit."""
        return self._greeting.name

    @property
    def dtype(self) -> str:
        """Likewise."""
        return self._greeting.dtype

    @property
    def num_heads(self) -> int:
        """Likewise."""
        return self._greeting.num_heads

    @property
    def shares_prefix(self) -> bool:
        """Likewise."""
        return self._greeting.shares_prefix

    @property
    def arithmetic(self) -> str:
        """Likewise."""
        return self._greeting.arithmetic

    @property
    def num_processes(self) -> int:
        """One for each launch."""
        return len(self._keepers)

    @property
    def num_live(self) -> int:
        """How many can take a batch now, or are at work on one."""
        return sum(keeper.is_live for keeper in self._keepers)

    def processes(self) -> Sequence[Mapping[str, Any]]:
        """Device, process id, whether it lives, what it did, how often it was started again."""
        return [keeper.state() for keeper in self._keepers]

    def watch(self, changed: Callable[[int, bool], None]) -> None:
        """Call `changed` now and with each change: how many live, and whether one was started again."""
        with self._changed:
            self._tell = changed
            changed(self.num_live, False)

    def forward(self, batch: Sequence[Encoded]) -> Scored:
        """As `Backend.forward`, by a process that is free; waits for one.

        A lone item whose process died is tried once more. Several are not: the engine tries each half of a
        failed batch, so that an item which kills processes fails alone, after a few of them.

        Raises:
            ProcessDied: a process died of the batch, or none is left.
            RuntimeError: the back end raised.
        """
        try:
            return self._forward(batch)
        except ProcessDied:
            if len(batch) > 1:
                raise
        return self._forward(batch)

    def close(self) -> None:
        """End every process, whatever it is at, and return once all have ended."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for keeper in self._keepers:
            keeper.close()

    def _forward(self, batch: Sequence[Encoded]) -> Scored:
        process = self._take()
        try:
            scored = process.forward(batch, self._patience.forward_s)
        except ProcessDied:
            raise
        except Exception:  # raised there or here, such as for want of memory: nobody else gives it back
            self._prove(process)
            self._give_back(process)
            raise
        self._proof = self._proof or (list(batch), scored[0].tobytes())
        self._give_back(process)
        return scored

    def _take(self) -> EngineProcess:
        with self._changed:
            while not self._free:
                left_s = self._down_since + self._patience.down_s - time.monotonic()
                if self._closed or left_s <= 0:
                    raise ProcessDied("no engine process is left")
                self._changed.wait(min(left_s, threading.TIMEOUT_MAX))
            return self._free.popleft()

    def _give_back(self, process: EngineProcess) -> None:
        with self._changed:
            if any(keeper.process is process and keeper.is_live for keeper in self._keepers):
                self._free.append(process)
                self._changed.notify()

    def _greet_all(self) -> Greeting:
        with ThreadPoolExecutor(len(self._keepers)) as threads:
            greetings = list(threads.map(self._greet, self._keepers))
        if len(set(greetings)) > 1:
            raise InvalidInput(f"devices differ in what they serve: {greetings}", param="devices")
        return greetings[0]

    def _greet(self, keeper: Keeper) -> Greeting:
        try:
            return keeper.process.greet(self._patience.start_s)
        except (ProcessDied, RuntimeError) as err:
            raise InvalidInput(f"an engine process cannot serve: {err}", param="devices") from err

    def _admit(self, keeper: Keeper) -> None:
        """Let a process that was started again take batches, if it is what the others are, to the bit."""
        if self._greet(keeper) != self._greeting:
            raise ValueError("it loaded another back end than before")
        self._prove(keeper.process)
        keeper.num_restarts += 1
        self._join(keeper)
        self._report(restarted=True)

    def _prove(self, process: EngineProcess) -> None:
        """End a process that does not give the proof's scores, such as one with a broken device.

        Raises:
            ProcessDied: it was ended.
        """
        if self._proof is None:
            return
        batch, expected = self._proof
        try:
            scores, _ = process.forward(batch, self._patience.forward_s)
        except RuntimeError as err:
            process.kill()
            raise ProcessDied(f"it fails on what it scored before: {err}") from err
        if scores.tobytes() != expected:
            process.kill()
            raise ProcessDied("it gives other scores than before")

    def _join(self, keeper: Keeper) -> None:
        with self._changed:
            keeper.is_live = True
            self._down_since = inf
            self._free.append(keeper.process)
            self._changed.notify()

    def _lose(self, keeper: Keeper) -> None:
        with self._changed:
            keeper.is_live = False
            with suppress(ValueError):
                self._free.remove(keeper.process)
            if not self.num_live and self._down_since == inf:
                self._down_since = time.monotonic()
                self._changed.notify_all()  # who waits for one that was at work waits `down_s` more
        self._report(restarted=False)

    def _report(self, *, restarted: bool) -> None:
        with self._changed:
            if not self._closed:
                self._tell(self.num_live, restarted)
