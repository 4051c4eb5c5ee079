"""One sequence that waits for its forward, and everyone who waits for it."""

import asyncio
from dataclasses import dataclass, field
from math import inf

from guerdon_service.core.encoded import Encoded
from guerdon_service.core.ports import RawScores
from guerdon_service.core.query import Lane


@dataclass(slots=True, eq=False)
class Pending:
    """An admitted sequence. Mutable: later stages fill the last fields.

    key: fingerprint; equal keys in flight share one `Pending`.
    tenant: who asked; equal keys have equal tenants.
    prefix: bytes of the prompt's token ids where the back end shares prompts, else None.
    """

    key: bytes
    encoded: Encoded
    lane: Lane
    deadline: float
    """Monotonic seconds after which nobody wants it; the latest among its waiters."""
    prefix: bytes | None
    future: asyncio.Future[RawScores]
    queued_at: float
    tenant: str = ""
    waiters: int = 1
    by_estimate: bool = False
    """It was admitted because its wait was estimated to end before its deadline."""
    overtaking: float = inf
    """Tokens of its tenant that came later and may go first, as its deadline leaves room for no more."""
    counted: bool = field(default=False, init=False)  # it waits in the queue; under the queue's lock
    started_at: float = field(default=0.0, init=False)  # filled by the back-end thread
    done_at: float = field(default=0.0, init=False)  # filled by the back-end thread

    @property
    def is_late(self) -> bool:
        """Whether it was done after its deadline."""
        return self.done_at > self.deadline

    def is_wanted(self, now: float) -> bool:
        """Whether a forward for it still makes sense."""
        return self.waiters > 0 and now < self.deadline
