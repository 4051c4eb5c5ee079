"""Scoring all the time in the background, to see that nothing fails while versions change."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from guerdon.client import Client
from guerdon.errors import GuerdonError

PAUSE_S = 0.005
"""Between two requests, in seconds: often enough to be in the midst of any change."""


@dataclass(slots=True)
class Seen:
    """What the background saw."""

    rewards: list[tuple[float, str, float]] = field(default_factory=list)
    """When (monotonic seconds), of which version, which reward; in order."""
    failures: list[str] = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, version: str, timeout_s: float) -> float:
        """When the first reply of `version` after now arrived.

        Raises:
            GuerdonError: none did in time.
        """
        start = len(self.rewards)

        def found() -> bool:
            return any(v == version for _, v, _ in self.rewards[start:])

        with self.arrived:
            if not self.arrived.wait_for(found, timeout_s):
                raise GuerdonError(f"no reply of version {version} within {timeout_s:g} s")
        return next(at for at, v, _ in self.rewards[start:] if v == version)


@contextmanager
def scoring_all_the_time(url: str, model: str, item: tuple[str, str]) -> Iterator[Seen]:
    """Within, `item` is scored again and again, never retried."""
    seen, stop = Seen(), threading.Event()

    def work() -> None:
        with Client(url, max_retries=0) as client:
            while not stop.wait(PAUSE_S):
                try:
                    result = client.score([item], model=model)
                except GuerdonError as err:
                    seen.failures.append(str(err))
                    continue
                with seen.arrived:
                    seen.rewards.append((time.monotonic(), result.model.version, result.scores[0].reward))
                    seen.arrived.notify_all()

    thread = threading.Thread(target=work, name="guerdon-demo-load", daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()
