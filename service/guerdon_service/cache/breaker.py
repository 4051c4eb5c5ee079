"""Stops asking a service that keeps failing, and tries again now and then."""

from collections.abc import Callable
from time import monotonic


class Breaker:
    """Closed until `max_failures` in a row, then open; half-open for one probe each `backoff_s`.

    A probe that never reports (its caller was cancelled) is no special case: the next one may go after
    another `backoff_s`.

    Args:
        max_failures: consecutive failures that open it.
        backoff_s: seconds from the last failure or probe to the next probe.
        clock: seconds that never run backwards.
    """

    def __init__(
        self, max_failures: int = 5, backoff_s: float = 1.0, clock: Callable[[], float] = monotonic
    ) -> None:
        self._max_failures = max_failures
        self._backoff_s = backoff_s
        self._clock = clock
        self._failures = 0
        self._probe_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether calls are held back (probes apart)."""
        return self._failures >= self._max_failures

    def allow(self) -> bool:
        """Whether the caller may try; while open, a True is the one probe."""
        if not self.is_open:
            return True
        now = self._clock()
        if now < self._probe_at:
            return False
        self._probe_at = now + self._backoff_s
        return True

    def succeeded(self) -> None:
        """A try went well: close."""
        self._failures = 0

    def failed(self) -> None:
        """A try went wrong."""
        self._failures += 1
        self._probe_at = self._clock() + self._backoff_s
