"""How many requests are read while the event loop is late."""

import math
import time
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext

from guerdon_service.core.auth import Scope
from guerdon_service.core.errors import DeadlineExceeded, Overloaded

LATE_S = 0.1
"""A loop that runs later than this has more to do than it can."""
AFTER_S = 1.0
"""For so long it must have been late without a break: one large request, or a pause, is no overload."""
HOLD_S = 1.0
"""For so long after it was late last, requests are still read in parts: else all would come in at once."""
WINDOW_S = 1.0
HEADROOM = 2.0
"""Times the pace at which a tenant was answered: who waits for answers before he asks on stays below it."""


_NOT_COUNTED = nullcontext()


class Reading:
    """Keeps the event loop from drowning in requests that it reads only to refuse, or to answer too late.

    What admission refuses has been read by then, which takes the one thread that everything else waits for.
    So past some rate of arrivals forwards starve, all that is accepted is late, and nobody is answered. While
    the loop is late, a tenant's requests are read at twice the pace at which his were answered in the last
    second or are in this one, or at an equal part of that of all; others are refused unread. As in CoDel
    (Nichols and Jacobson 2012) it is a delay that stays which counts, not one that passes, and only where
    some of what was read found no room or came too late: 64 callers of a model that makes its first kernels
    find room. Only requests that need the scope ``score`` count: what looks at the service, or administers
    it, is always read, and buys no scores.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._late_since: float | None = None
        self._late_until = -math.inf
        self._in_vain_until = -math.inf
        self._window_until = -math.inf
        self._num_answered = Counter[str]()
        self._num_read = Counter[str]()
        self._pace = Counter[str]()
        """Answered in the last window."""
        self._share = 1.0

    def lagged(self, lag_s: float) -> None:
        """Told many times a second by how much the loop runs late."""
        now = self._clock()
        if lag_s <= LATE_S:
            self._late_since = None
        elif self._late_since is None:
            self._late_since = now
        elif now - self._late_since >= AFTER_S:
            self._late_until = now + HOLD_S

    def request(self, tenant: str, scope: Scope | None) -> "_Request | nullcontext[None]":
        """Within it a request of a tenant, which needs `scope`, is read and answered.

        Raises:
            Overloaded: the loop is late, and the tenant has had his part of this second.
        """
        return _Request(self, tenant) if scope is Scope.SCORE else _NOT_COUNTED

    def _check(self, tenant: str) -> None:
        now = self._clock()
        if now >= self._window_until:
            self._begin_window(now)
        pace = max(self._pace[tenant], self._num_answered[tenant])
        is_over = self._num_read[tenant] >= max(self._share, HEADROOM * pace)
        if is_over and now < min(self._late_until, self._in_vain_until):
            wait_ms = max(1, math.ceil(1000 * (self._window_until - now)))
            raise Overloaded(
                f"more requests come than can be read; retry after {wait_ms} ms", retry_after_ms=wait_ms
            )
        self._num_read[tenant] += 1

    def _ended(self, tenant: str, failed: type[BaseException] | None) -> None:
        if failed is None:
            self._num_answered[tenant] += 1
        elif issubclass(failed, Overloaded | DeadlineExceeded):
            self._in_vain_until = self._clock() + HOLD_S

    def _begin_window(self, now: float) -> None:
        self._pace, self._num_answered = self._num_answered, Counter()
        self._share = max(1.0, self._pace.total() / max(1, len(self._num_read)))
        self._num_read.clear()
        self._window_until = now + WINDOW_S


class _Request:
    """A class: a generator would take three times as long, on the path of every request."""

    __slots__ = ("_reading", "_tenant")

    def __init__(self, reading: Reading, tenant: str) -> None:
        self._reading, self._tenant = reading, tenant

    def __enter__(self) -> None:
        self._reading._check(self._tenant)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._reading._ended(self._tenant, kind)
