"""Buckets of one process."""

from collections.abc import Callable, Sequence
from time import monotonic

from guerdon_service.core.rate import Bucket, Taken, take


class LocalBuckets:
    """Backlogs by tenant; as many tenants as there are keys with limits. For one thread: the event loop's."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._full_at: dict[str, tuple[float, ...]] = {}

    def take(self, tenant: str, buckets: Sequence[Bucket], costs: Sequence[float], *, force: bool) -> Taken:
        """See `core.rate.take`."""
        now = self._clock()
        full_at = self._full_at.get(tenant, (now,) * len(buckets))
        taken = take(buckets, [max(0.0, at - now) for at in full_at], costs, force=force)
        self.remember(tenant, taken.backlogs_s)
        return taken

    def remember(self, tenant: str, backlogs_s: Sequence[float]) -> None:
        """What is known of a tenant from elsewhere, so that an outage does not begin with full buckets."""
        now = self._clock()
        self._full_at[tenant] = tuple(now + backlog for backlog in backlogs_s)
