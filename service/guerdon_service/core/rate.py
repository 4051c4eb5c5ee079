"""How fast one API key may ask: token buckets, as arithmetic on one number each.

A bucket holds `capacity` and fills evenly in `period_s`. What is kept of it is its *backlog*: the seconds
until it is full again. Asking for `cost` is granted while it is there, and adds
``cost * period_s / capacity`` to the backlog. (The generic cell rate algorithm, ITU-T I.371, annex A: a
token bucket whose state is one time.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

MINUTE_S, DAY_S = 60.0, 86_400.0
ROUNDING_S = 1e-6
"""A wait as short as this is what floats made of none: who has waited as told is not told to wait again."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """One limit. `unit` is what it counts: ``requests`` or ``tokens``."""

    name: str
    unit: str
    capacity: float
    period_s: float

    def seconds(self, amount: float) -> float:
        """How long `amount` takes to come back."""
        return amount * self.period_s / self.capacity


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """Most that one key may use; None is no limit. A whole minute's or day's worth may come at once."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    tokens_per_day: float | None = None
    """The quota."""

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        """One for each limit that is set."""
        given = (
            ("requests_per_minute", "requests", self.requests_per_minute, MINUTE_S),
            ("tokens_per_minute", "tokens", self.tokens_per_minute, MINUTE_S),
            ("tokens_per_day", "tokens", self.tokens_per_day, DAY_S),
        )
        return tuple(Bucket(name, unit, limit, period) for name, unit, limit, period in given if limit)


NO_LIMITS = KeyLimits()


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of asking: the bucket that refused, if one did, and every bucket's backlog in seconds."""

    refused: Bucket | None
    wait_ms: int
    """Milliseconds until the same would be granted; 0 when it was."""
    backlogs_s: tuple[float, ...]


def take(
    buckets: Sequence[Bucket], backlogs_s: Sequence[float], costs: Sequence[float], *, force: bool = False
) -> Taken:
    """Ask every bucket at once: all grant, or none is charged.

    A cost over a bucket's capacity is granted by a full one, which then is in debt: else it never would be.

    Args:
        force: charge whatever is there; with negative costs, give back.
    """
    waits = [
        backlog + bucket.seconds(min(cost, bucket.capacity)) - bucket.period_s
        for bucket, backlog, cost in zip(buckets, backlogs_s, costs, strict=True)
    ]
    worst = max(range(len(waits)), key=waits.__getitem__, default=0)
    if not force and waits and waits[worst] > ROUNDING_S:
        return Taken(buckets[worst], ceil(1000 * waits[worst]), tuple(backlogs_s))
    charged = zip(buckets, backlogs_s, costs, strict=True)
    return Taken(None, 0, tuple(max(0.0, backlog + b.seconds(cost)) for b, backlog, cost in charged))
