"""The bounded queue: two lanes, measured in tokens, packed to a token budget."""

import threading
from collections import deque
from collections.abc import Iterable

from guerdon_service.core.query import Lane
from guerdon_service.engine.pending import Pending

BULK_SHARE = 0.2
"""Share of the tokens that waiting bulk work is owed; interactive work owns the rest."""
BULK_SLICE = 1 / 8
"""Most of a batch that bulk work fills while interactive work pauses: who comes next waits that long."""
INTERACTIVE_PAUSE_S = 1.0
"""Seconds without interactive work after which bulk work gets whole batches."""


class TokenQueue:
    """Thread-safe. The event loop puts, the back-end thread takes.

    Bulk work earns credit with each token of interactive work (deficit round robin, Shreedhar and Varghese
    1995), so neither lane can starve the other, whatever the sizes of their items. It does not fill up a
    batch of interactive work: a fuller batch is a longer wait for everyone in it.
    """

    def __init__(self, max_batch_tokens: int) -> None:
        self._max_batch_tokens = max_batch_tokens
        self._lanes: dict[Lane, deque[Pending]] = {lane: deque() for lane in Lane}
        self._bulk_credit = 0.0
        self._interactive_until = 0.0
        self._num_tokens = 0
        self._num_items = 0
        self._closed = False
        self._changed = threading.Condition()

    @property
    def num_tokens(self) -> int:
        """Tokens that wait."""
        return self._num_tokens

    @property
    def num_items(self) -> int:
        """Items that wait."""
        return self._num_items

    def put(self, pendings: Iterable[Pending]) -> bool:
        """Append in order, so candidates of one prompt stay neighbours; False once closed."""
        with self._changed:
            if self._closed:
                return False
            for pending in pendings:
                self._lanes[pending.lane].append(pending)
                self._count(pending)
            self._changed.notify()
            return True

    def forget(self, pending: Pending) -> None:
        """Stop counting an item that nobody wants any more; `take` will skip it."""
        with self._changed:
            self._uncount(pending)

    def take(self, now: float) -> tuple[list[Pending], list[Pending]]:
        """Next batch, and what was dropped from it because its deadline has passed; never waits."""
        with self._changed:
            batch = self._pack(now)
            for pending in batch:
                self._uncount(pending)
                pending.started_at = now
        wanted = [p for p in batch if p.is_wanted(now)]
        return wanted, [p for p in batch if p.waiters > 0 and now >= p.deadline]

    def wait(self) -> bool:
        """Block until something waits; False once closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting())
            return self._waiting()

    def close(self) -> list[Pending]:
        """Refuse to wait any longer and hand back everything that is left."""
        with self._changed:
            self._closed = True
            left = [p for lane in self._lanes.values() for p in lane]
            for lane in self._lanes.values():
                lane.clear()
            for pending in left:
                self._uncount(pending)
            self._changed.notify_all()
            return left

    def _waiting(self) -> bool:
        return any(self._lanes.values())

    def _count(self, pending: Pending) -> None:
        pending.counted = True
        self._num_tokens += pending.encoded.num_tokens
        self._num_items += 1

    def _uncount(self, pending: Pending) -> None:
        if pending.counted:
            pending.counted = False
            self._num_tokens -= pending.encoded.num_tokens
            self._num_items -= 1

    def _pack(self, now: float) -> list[Pending]:
        batch: list[Pending] = []
        prefixes: set[bytes] = set()
        interactive, bulk = self._lanes[Lane.INTERACTIVE], self._lanes[Lane.BULK]
        budget = float(self._max_batch_tokens)
        if interactive:
            self._interactive_until = now + INTERACTIVE_PAUSE_S
            owed = self._move(bulk, batch, prefixes, self._bulk_credit, whole=False)
            spent = self._move(interactive, batch, prefixes, budget - owed, whole=not batch)
            earned = spent * BULK_SHARE / (1 - BULK_SHARE)
            self._bulk_credit = self._bulk_credit + earned - owed if bulk else 0.0
        else:
            share = BULK_SLICE if now < self._interactive_until else 1.0
            spent = self._move(bulk, batch, prefixes, share * budget, whole=True)
            self._bulk_credit = max(0.0, self._bulk_credit - spent)
        return batch

    @staticmethod
    def _move(
        lane: deque[Pending], batch: list[Pending], prefixes: set[bytes], budget: float, *, whole: bool
    ) -> float:
        """Move items from `lane` while they fit; `whole` lets one item exceed the budget."""
        spent = 0.0
        while lane:
            cost = _cost(lane[0], prefixes)
            if spent + cost > budget and not (whole and not spent):
                break
            pending = lane.popleft()
            if pending.waiters > 0:
                spent += cost
                batch.append(pending)
                if pending.prefix is not None:
                    prefixes.add(pending.prefix)
        return spent


def _cost(pending: Pending, prefixes: set[bytes]) -> int:
    """Tokens that this item adds to the batch: a shared prompt counts once."""
    shared = pending.prefix is not None and pending.prefix in prefixes
    return pending.encoded.num_tokens - (pending.encoded.prefix_len if shared else 0)
