"""The bounded queue: two lanes, measured in tokens, packed to a token budget."""

import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from math import inf

from guerdon_service.core.query import Lane
from guerdon_service.engine.fair_lane import STRETCH, FairLane
from guerdon_service.engine.pending import Pending

BULK_SHARE = 0.2
"""Share of the tokens that waiting bulk work is owed; interactive work owns the rest."""
BULK_SLICE = 1 / 8
"""Most of a batch that bulk work fills while interactive work pauses: who comes next waits that long."""
INTERACTIVE_PAUSE_S = 1.0
"""Seconds without interactive work after which bulk work gets whole batches."""
TURN_SHARE = 1 / 8
"""Of a batch, what a tenant takes in its turn while others wait."""
BACKLOG_SHARE = 1 / 4
"""Of the interactive work that waits, what one of several takers takes: the longer the queue, the fuller its
batches, and the shorter the queue, the sooner is done who comes next. Of idle ones each takes its part."""
LEAST_BATCH = 1 / 4
"""Of a full batch, what one of several takers takes in any case: smaller ones cost more than they save."""
EXPRESS = -1
"""The taker of short items while all others are busy."""
EXPRESS_ITEM = 1 / 16
"""Of a batch, the longest item that it takes, in tokens."""
EXPRESS_BATCH = 1 / 4
"""Of a batch, what it takes at once."""
EXPRESS_BACKLOG = 1
"""Of a batch, what may wait while it takes: with more behind it, a third forward only slows the others."""
MAX_FORGOTTEN = 1000
"""Items that nobody wants any more are kept until their turn, but never more than the others and these."""


@dataclass(slots=True)
class _Batch:
    """What `take` gathers."""

    now: float
    items: list[Pending] = field(default_factory=list)
    expired: list[Pending] = field(default_factory=list)
    prefixes: set[bytes] = field(default_factory=set)

    def cost(self, pending: Pending) -> int:
        """Tokens that this item adds: a shared prompt counts once."""
        shared = pending.prefix is not None and pending.prefix in self.prefixes
        return pending.encoded.num_tokens - (pending.encoded.prefix_len if shared else 0)

    def add(self, pending: Pending) -> None:
        pending.started_at = self.now
        self.items.append(pending)
        if pending.prefix is not None:
            self.prefixes.add(pending.prefix)


class TokenQueue:
    """Thread-safe. The event loop puts, each back-end thread takes, waits, and takes again.

    Bulk work earns credit with each token of interactive work (deficit round robin, Shreedhar and Varghese
    1995), so neither lane can starve the other, whatever the sizes of their items. It does not fill up a
    batch of interactive work: a fuller batch is a longer wait for everyone in it. Within a lane tenants take
    turns.

    Args:
        num_takers: threads that share the cores; with several, `EXPRESS` may take as well.
    """

    def __init__(self, max_batch_tokens: int, num_takers: int = 1) -> None:
        self._max_batch_tokens = max_batch_tokens
        self._num_takers = num_takers
        turn_tokens = TURN_SHARE * max_batch_tokens
        self._lanes = {
            Lane.INTERACTIVE: FairLane(turn_tokens, STRETCH),
            Lane.BULK: FairLane(turn_tokens, 0),  # what waits longest there should not wait longer
        }
        self._bulk_credit = 0.0
        self._interactive_until = 0.0
        self._num_tokens = 0
        self._num_items = 0
        self._num_forgotten = 0
        self._running: dict[int, int] = {}
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

    @property
    def num_running(self) -> int:
        """Batches that were taken and are not done, at least one: whoever asks has just done one."""
        return max(1, sum(map(bool, self._running.values())))

    def waiting_of(self, tenant: str) -> int:
        """Tokens of one tenant that wait."""
        return sum(lane.waiting[tenant] for lane in self._lanes.values())

    def num_tenants(self, lane: Lane) -> int:
        """How many have something waiting in a lane."""
        return len(self._lanes[lane].waiting)

    def tokens_before(
        self, lane: Lane, tenant: str, num_tokens: int, refused: Collection[str] = frozenset()
    ) -> float:
        """Tokens that will have been computed when `num_tokens` more of a tenant are.

        What runs now, its own, as many of every other tenant that waits, and the other lane's part. For what
        comes on top of others that it has waiting, tenants that were `refused` lately count in full: they are
        about to come again.
        """
        with self._changed:
            waiting, other = self._lanes[lane].waiting, self._lanes[_OTHER[lane]].waiting
            own = waiting[tenant] + num_tokens
            hungry = set(refused) - {tenant} if tenant in waiting else set()
            others = sum(min(own, n) for name, n in waiting.items() if name != tenant and name not in hungry)
            fair = own + others + own * len(hungry)
            share = BULK_SHARE if lane is Lane.BULK else 1 - BULK_SHARE
            return sum(self._running.values()) + fair + min(sum(other.values()), fair * (1 - share) / share)

    def put(self, pendings: Iterable[Pending]) -> bool:
        """Append in order, so candidates of one prompt stay neighbours; False once closed."""
        with self._changed:
            if self._closed:
                return False
            for pending in pendings:
                self._lanes[pending.lane].append(pending)
                self._count(pending)
            self._changed.notify_all()  # it may be more than one batch
            return True

    def join(self, pending: Pending, deadline: float, lane: Lane, now: float) -> bool:
        """One more waits for an item that was put: until the later deadline, in the faster lane.

        False when the item is past helping; under the lock, because `take` may be dropping it right now.
        """
        with self._changed:
            if not pending.is_wanted(now):
                return False
            pending.waiters += 1
            pending.deadline = max(pending.deadline, deadline)
            if pending.counted and lane is Lane.INTERACTIVE and pending.lane is Lane.BULK:
                self._uncount(pending)
                pending.lane = lane
                self._lanes[lane].append(pending)  # what is left of it in the other lane is skipped, or taken
                self._count(pending)
            return True

    def forget(self, pending: Pending) -> None:
        """Stop counting an item that nobody wants any more; `take` will skip it."""
        with self._changed:
            if not pending.counted:
                return
            self._uncount(pending)
            if self._num_takers > 1:
                self._changed.notify_all()  # what was behind it may be short
            self._num_forgotten += 1
            if self._num_forgotten > self._num_items + MAX_FORGOTTEN:
                self._num_forgotten = 0
                for lane in self._lanes.values():
                    lane.prune()

    def take(self, now: float, taker: int = 0) -> tuple[list[Pending], list[Pending]]:
        """Next batch, and what was dropped on the way because its deadline has passed; never waits.

        Args:
            taker: which of the threads that take: a number from 0, or `EXPRESS`.
        """
        with self._changed:
            batch = _Batch(now)
            spent = self._pack_express(batch) if taker == EXPRESS else self._pack(batch)
            self._running[taker] = round(spent)
            if self._num_takers > 1 and self._waiting():
                self._changed.notify_all()  # now that one more is busy, it may be the express taker's turn
            return batch.items, batch.expired

    def wait(self, timeout_s: float | None = None, taker: int = 0) -> bool:
        """Block until something waits, for `timeout_s` at most; False once closed and empty.

        Args:
            taker: as in `take`; its last batch is done.
        """
        with self._changed:
            self._running[taker] = 0
            ready = self._next_express if taker == EXPRESS else self._waiting
            self._changed.wait_for(lambda: self._closed or ready(), timeout_s)
            return not self._closed or bool(ready())

    def close(self) -> list[Pending]:
        """Refuse to wait any longer and hand back everything that is left."""
        with self._changed:
            self._closed = True
            left = [p for lane in self._lanes.values() for p in lane.drain() if self._uncount(p)]
            self._changed.notify_all()
            return left

    def _waiting(self) -> bool:
        return any(self._lanes.values())

    def _next_express(self) -> Pending | None:
        """The next interactive item if it is short, little waits, and all other takers are busy."""
        interactive = self._lanes[Lane.INTERACTIVE]
        num_busy = sum(num_tokens > 0 for taker, num_tokens in self._running.items() if taker != EXPRESS)
        has_turn = num_busy == self._num_takers and (
            sum(interactive.waiting.values()) <= EXPRESS_BACKLOG * self._max_batch_tokens
        )
        first = interactive.next(set()) if has_turn else None
        is_short = first is not None and first.encoded.num_tokens <= EXPRESS_ITEM * self._max_batch_tokens
        return first if is_short else None

    def _count(self, pending: Pending) -> None:
        pending.counted = True
        self._lanes[pending.lane].waiting[pending.tenant] += pending.encoded.num_tokens
        self._num_tokens += pending.encoded.num_tokens
        self._num_items += 1

    def _uncount(self, pending: Pending) -> bool:
        """Whether it was counted."""
        if not pending.counted:
            return False
        pending.counted = False
        waiting = self._lanes[pending.lane].waiting
        waiting[pending.tenant] -= pending.encoded.num_tokens
        if not waiting[pending.tenant]:
            del waiting[pending.tenant]
        self._num_tokens -= pending.encoded.num_tokens
        self._num_items -= 1
        return True

    def _pack(self, batch: _Batch) -> float:
        """Fill the batch; how many tokens it has."""
        interactive, bulk = self._lanes[Lane.INTERACTIVE], self._lanes[Lane.BULK]
        if interactive:
            self._interactive_until = batch.now + INTERACTIVE_PAUSE_S
            budget = self._interactive_budget(interactive)
            owed = self._move_owed(bulk, batch, budget)
            room = self._max_batch_tokens - owed
            spent = self._move(interactive, batch, budget - owed, whole=not batch.items, room=room)
            self._earn(spent, owed)
            return owed + spent
        share = BULK_SLICE if batch.now < self._interactive_until else 1.0
        spent = self._move(bulk, batch, share * self._max_batch_tokens, whole=True)
        self._bulk_credit = max(0.0, self._bulk_credit - spent)
        return spent

    def _pack_express(self, batch: _Batch) -> float:
        """Short items, as long as one is next; how many tokens they have."""
        spent, budget = 0.0, EXPRESS_BATCH * self._max_batch_tokens
        while spent < budget and (pending := self._next_express()) is not None:
            spent += self._move_item(self._lanes[Lane.INTERACTIVE], batch, pending)
        if batch.items:
            self._interactive_until = batch.now + INTERACTIVE_PAUSE_S
        self._earn(spent, 0.0)
        return spent

    def _earn(self, spent: float, owed: float) -> None:
        """Bulk work that waits earns with what interactive work took, and pays what it was owed."""
        earned = spent * BULK_SHARE / (1 - BULK_SHARE)
        self._bulk_credit = self._bulk_credit + earned - owed if self._lanes[Lane.BULK] else 0.0

    def _interactive_budget(self, interactive: FairLane) -> float:
        if self._num_takers == 1:
            return self._max_batch_tokens
        is_idle = not any(self._running.values())
        share = max(BACKLOG_SHARE, 1 / self._num_takers) if is_idle else BACKLOG_SHARE
        waiting = share * sum(interactive.waiting.values())
        return min(self._max_batch_tokens, max(waiting, LEAST_BATCH * self._max_batch_tokens))

    def _move_owed(self, bulk: FairLane, batch: _Batch, budget: float) -> float:
        """What bulk work has earned: up to a batch of it, or one item that is longer than a batch."""
        first = bulk.next(batch.prefixes)
        if first is None or batch.cost(first) > self._bulk_credit:
            return 0.0
        return self._move(bulk, batch, min(self._bulk_credit, budget), whole=True)

    def _move(self, lane: FairLane, batch: _Batch, budget: float, *, whole: bool, room: float = 0.0) -> float:
        """Move items while they fit: into `budget`, or into `room` what shares its prompt with the batch;
        `whole` lets one item exceed it."""
        spent = 0.0
        while (pending := lane.next(batch.prefixes)) is not None:
            limit = max(budget, room) if pending.prefix in batch.prefixes else budget
            is_over = spent + batch.cost(pending) > limit
            if is_over and batch.now < pending.deadline and not (whole and not spent):
                break
            spent += self._move_item(lane, batch, pending)
        return spent

    def _move_item(self, lane: FairLane, batch: _Batch, pending: Pending) -> float:
        """Move the lane's next item, unless its deadline has passed; the tokens that it adds to the batch."""
        cost = 0.0
        if batch.now >= pending.deadline:
            batch.expired.append(pending)
            pending.deadline = -inf  # nobody can join it any more
        else:
            cost = batch.cost(pending)
            batch.add(pending)
        lane.pay(cost)
        self._uncount(pending)
        return cost


_OTHER = {Lane.INTERACTIVE: Lane.BULK, Lane.BULK: Lane.INTERACTIVE}
