"""All engine processes of one model, as one back end."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guerdon_service.backends.process.engine_process import EngineProcess, Greeting, Launch
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.ports import ForwardStats, ProcessDied

log = logging.getLogger(__name__)

Scored = tuple[NDArray[np.float32], ForwardStats]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for what, in seconds.

    start_s: for a process to have loaded its weights.
    forward_s: for a batch; a process that takes longer hangs, and is killed.
    down_s: for a process to be there again, while none is; then batches fail.
    delay_s, max_delay_s: before a process is started again: doubled with each that died within `stable_s` of
        its start, and bounded.
    """

    start_s: float = 600.0
    forward_s: float = 120.0
    down_s: float = 60.0
    delay_s: float = 0.1
    max_delay_s: float = 10.0
    stable_s: float = 60.0


@dataclass(slots=True)
class _Slot:
    """A device, and the process that has it now."""

    launch: Launch
    process: EngineProcess
    is_live: bool = False
    started_at: float = 0.0
    num_restarts: int = 0
    num_quick_ends: int = 0


class EnginePool:
    """`core.ports.ProcessBackend`: a process for each launch, started again whenever it ends.

    A batch goes to whichever process has been free for longest. A process that was started again must first
    give the first batch that was ever scored the same bits.

    Raises:
        InvalidInput: a process refuses to load, cannot, or is another back end than the others.
    """

    def __init__(self, launches: Sequence[Launch], patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._changed = threading.Condition()
        self._free: deque[EngineProcess] = deque()
        self._down_since = inf
        self._closed = False
        self._proof: tuple[Sequence[Encoded], NDArray[np.float32]] | None = None
        self._tell: Callable[[int, bool], None] = lambda num_live, restarted: None
        self._slots = [_Slot(launch, EngineProcess(launch)) for launch in launches]
        try:
            with ThreadPoolExecutor(len(launches)) as threads:
                greetings = list(threads.map(self._greet, self._slots))
            self._greeting = greetings[0]
            if len(set(greetings)) > 1:
                raise InvalidInput(f"devices differ in what they serve: {greetings}", param="devices")
        except BaseException:
            for slot in self._slots:
                slot.process.close()
            raise
        for slot in self._slots:
            self._join(slot, restarted=False)
        self._supervisors = [self._supervisor(slot) for slot in self._slots]

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
    def num_processes(self) -> int:
        """One for each launch."""
        return len(self._slots)

    @property
    def num_live(self) -> int:
        """How many can take a batch now, or are at work on one."""
        return sum(slot.is_live for slot in self._slots)

    def processes(self) -> Sequence[Mapping[str, Any]]:
        """Device, process id, whether it lives, what it did, how often it was started again."""
        return [
            {
                "device": slot.launch.device,
                "pid": slot.process.pid,
                "live": slot.is_live,
                "forwards": slot.process.num_forwards,
                "restarts": slot.num_restarts,
            }
            for slot in self._slots
        ]

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
            processes = [slot.process for slot in self._slots]
        for process in processes:
            process.close()
        for supervisor in self._supervisors:
            supervisor.join()

    def _forward(self, batch: Sequence[Encoded]) -> Scored:
        process = self._take()
        try:
            scored = process.forward(batch, self._patience.forward_s)
        except RuntimeError:
            self._give_back(process)
            raise
        self._proof = self._proof or (list(batch), scored[0])
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
            if any(slot.process is process and slot.is_live for slot in self._slots):
                self._free.append(process)
                self._changed.notify()

    def _supervisor(self, slot: _Slot) -> threading.Thread:
        thread = threading.Thread(
            target=self._supervise, args=(slot,), name=f"guerdon-{slot.launch.device}", daemon=True
        )
        thread.start()
        return thread

    def _supervise(self, slot: _Slot) -> None:
        """One device's processes, one after the other, until closed."""
        while True:
            how = slot.process.wait()
            self._leave(slot, how)
            if not self._pause(slot) or not self._spawn(slot):
                return
            try:
                self._prove(slot)
                self._join(slot, restarted=True)
            except Exception as err:  # whatever it is, the next one may start
                log.error("an engine process did not start again", extra=_about(slot) | {"reason": str(err)})
                slot.process.kill()

    def _greet(self, slot: _Slot) -> Greeting:
        try:
            return slot.process.greet(self._patience.start_s)
        except (ProcessDied, RuntimeError) as err:
            raise InvalidInput(f"device {slot.launch.device} cannot serve: {err}", param="devices") from err

    def _prove(self, slot: _Slot) -> None:
        """It is what the others are, to the bit."""
        if self._greet(slot) != self._greeting:
            raise ValueError("it loaded another back end than before")
        if self._proof is not None:
            batch, expected = self._proof
            scores, _ = slot.process.forward(batch, self._patience.forward_s)
            if scores.tobytes() != expected.tobytes():
                raise ValueError("it gives other scores than before")

    def _join(self, slot: _Slot, *, restarted: bool) -> None:
        with self._changed:
            if self._closed:
                return
            slot.is_live, slot.started_at = True, time.monotonic()
            slot.num_restarts += restarted
            self._down_since = inf
            self._free.append(slot.process)
            self._changed.notify()
            self._tell(self.num_live, restarted)

    def _leave(self, slot: _Slot, how: str) -> None:
        with self._changed:
            if self._closed:
                return
            log.error("an engine process ended", extra=_about(slot) | {"how": how})
            lived_s = time.monotonic() - slot.started_at if slot.is_live else 0.0
            slot.num_quick_ends = 1 if lived_s > self._patience.stable_s else slot.num_quick_ends + 1
            slot.is_live = False
            with suppress(ValueError):
                self._free.remove(slot.process)
            if not self.num_live and self._down_since == inf:
                self._down_since = time.monotonic()
            self._tell(self.num_live, False)

    def _pause(self, slot: _Slot) -> bool:
        """Back off; False once closed."""
        delay_s = self._patience.delay_s * 2.0 ** min(slot.num_quick_ends - 1, 32)
        with self._changed:
            return not self._changed.wait_for(lambda: self._closed, min(delay_s, self._patience.max_delay_s))

    def _spawn(self, slot: _Slot) -> bool:
        """Start a process; False once closed."""
        with self._changed:
            if not self._closed:
                slot.process.close()
                slot.process = EngineProcess(slot.launch)
            return not self._closed


def _about(slot: _Slot) -> dict[str, Any]:
    return {"device": slot.launch.device, "pid": slot.process.pid}
