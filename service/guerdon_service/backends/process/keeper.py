"""Keeps an engine process running on one device."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from guerdon_service.backends.process.engine_process import EngineProcess, Launch
from guerdon_service.backends.process.patience import Patience

log = logging.getLogger(__name__)


class Keeper:
    """One device's processes, one after the other; the first runs from the moment of construction."""

    def __init__(self, launch: Launch, patience: Patience) -> None:
        self.process = EngineProcess(launch)
        """The one that runs now, or ran last."""
        self.is_live = False
        """Whether `process` may take batches; whoever lets it do so says so."""
        self.num_restarts = 0
        self._launch = launch
        self._patience = patience
        self._closed = threading.Event()
        self._changing = threading.Lock()
        self._thread: threading.Thread | None = None

    def keep(self, admit: Callable[["Keeper"], None], lost: Callable[["Keeper"], None]) -> None:
        """From now on start another process whenever one ends.

        Args:
            admit: called with each new process in its place; what it raises refuses that process.
            lost: called when one has ended.
        """
        self._thread = threading.Thread(
            target=self._run, args=(admit, lost), name=f"guerdon-keep-{self._launch.device}", daemon=True
        )
        self._thread.start()

    def state(self) -> dict[str, Any]:
        """What whoever is on call wants to know."""
        return {
            "device": self._launch.device,
            "pid": self.process.pid,
            "live": self.is_live,
            "forwards": self.process.num_forwards,
            "restarts": self.num_restarts,
        }

    def close(self) -> None:
        """End the process, whatever it is at, start no other, and return once all is over."""
        self._closed.set()
        with self._changing:
            process = self.process
        process.close()
        if self._thread is not None:
            self._thread.join()

    def _run(self, admit: Callable[["Keeper"], None], lost: Callable[["Keeper"], None]) -> None:
        num_quick_ends = 0
        started = time.monotonic()
        while True:
            how = self.process.wait()
            if self._closed.is_set():
                return
            log.error("an engine process ended", extra=self.state() | {"how": how})
            lost(self)
            is_quick = time.monotonic() - started < self._patience.stable_s
            num_quick_ends = num_quick_ends + 1 if is_quick else 1
            if self._closed.wait(self._patience.delay_after(num_quick_ends)):
                return
            started = time.monotonic()
            try:
                if not self._spawn():
                    return
                admit(self)
            except Exception as err:  # whatever it is, the next one may do better
                if not self._closed.is_set():
                    log.error("an engine process did not start", extra=self.state() | {"reason": str(err)})
                self.process.kill()

    def _spawn(self) -> bool:
        """False once closed."""
        with self._changing:
            if self._closed.is_set():
                return False
            self.process.close()
            self.process = EngineProcess(self._launch)
            return True
