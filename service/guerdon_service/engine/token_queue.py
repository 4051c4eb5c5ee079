"""The bounded queue: two lanes, measured in tokens, packed to a token budget."""

import threading
from collections import deque
from collections.abc import Iterable

from guerdon_service.core.query import Lane
from guerdon_service.engine.pending import Pending

BULK_SHARE = 0.25
"""Share of each batch's tokens that waiting bulk work is owed; interactive work owns the rest."""


class TokenQueue:
    """Thread-safe. The event loop puts, the back-end thread takes.

    Bulk work earns `BULK_SHARE` of the budget as credit at each batch (deficit round robin, Shreedhar and
    Varghese 1995), so neither lane can starve the other, whatever the sizes of their items.
    """

    def __init__(self, max_batch_tokens: int) -> None:
        self._max_batch_tokens = max_batch_tokens
        self._lanes: dict[Lane, deque[Pending]] = {lane: deque() for lane in Lane}
        self._bulk_credit = 0.0
        self._prefetched: list[Pending] = []
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
            self._prefetch()
            self._changed.notify()
            return True

    def forget(self, pending: Pending) -> None:
        """Stop counting an item that nobody wants any more; `take` will skip it."""
        with self._changed:
            self._uncount(pending)

    def take(self, now: float) -> tuple[list[Pending], list[Pending]]:
        """Next batch, and what was dropped from it because its deadline has passed; never waits."""
        with self._changed:
            batch = self._prefetched or self._pack()
            self._prefetched = []
            for pending in batch:
                self._uncount(pending)
                pending.started_at = now
            self._prefetch()
        wanted = [p for p in batch if p.is_wanted(now)]
        return wanted, [p for p in batch if p.waiters > 0 and now >= p.deadline]

    def wait(self) -> bool:
        """Block until something waits; False once closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._prefetched) or self._waiting())
            return bool(self._prefetched) or self._waiting()

    def close(self) -> list[Pending]:
        """Refuse to wait any longer and hand back everything that is left."""
        with self._changed:
            self._closed = True
            left = self._prefetched + [p for lane in self._lanes.values() for p in lane]
            self._prefetched = []
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

    def _prefetch(self) -> None:
        """Pack one batch ahead while a full budget waits; a later newcomer would be behind it anyway."""
        if not self._prefetched and self._num_tokens >= 2 * self._max_batch_tokens:
            self._prefetched = self._pack()

    def _pack(self) -> list[Pending]:
        batch: list[Pending] = []
        prefixes: set[bytes] = set()
        interactive, bulk = self._lanes[Lane.INTERACTIVE], self._lanes[Lane.BULK]
        budget = float(self._max_batch_tokens)
        if bulk and interactive:
            self._bulk_credit += BULK_SHARE * budget
            spent = self._move(bulk, batch, prefixes, self._bulk_credit, whole=False)
            self._bulk_credit -= spent
            budget -= spent
        else:
            self._bulk_credit = 0.0
        budget -= self._move(interactive, batch, prefixes, budget, whole=not batch)
        self._move(bulk, batch, prefixes, budget, whole=not batch)
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
