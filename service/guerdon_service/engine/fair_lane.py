"""One lane of the queue: tenants take turns, so that none gets more than its share."""

from collections import Counter, deque
from heapq import heapify, heappop, heappush
from itertools import count

from guerdon_service.engine.pending import Pending

STRETCH = 8
"""An item is overtaken by shorter ones of its tenant until this many times its own tokens have come after it:
each waits in proportion to its length, and a short one not for all the long ones before it. Where its
deadline leaves room for fewer (`Pending.overtaking`), until those."""

_Waiting = tuple[float, int, Pending]
"""Tokens of its tenant with whose arrival an item is due, its number, and the item."""


class FairLane:
    """Tenants in turn, and each one's items as they are due. For one thread at a time: the queue's lock.

    Surplus round robin (Adiseshu, Parulkar and Varghese 1996): in its turn a tenant takes items until its
    credit is used up; the last one may cost more, and the excess is taken off the next turn. Tenants that
    wait get equally many tokens that way, whatever the sizes of their items. What shares its prompt with the
    batch stays together and is paid for later.

    Args:
        turn_tokens: what a tenant earns per turn, in tokens.
        stretch: how far shorter items go before longer ones (`STRETCH`); 0: in the order of their arrival.
    """

    def __init__(self, turn_tokens: float, stretch: int) -> None:
        self._turn_tokens, self._stretch = turn_tokens, stretch
        self._queues: dict[str, list[_Waiting]] = {}  # heaps
        self._numbers = count()
        self._arrived: dict[str, int] = {}
        self._turns: deque[str] = deque()
        self._credit: dict[str, float] = {}
        self.waiting: Counter[str] = Counter()
        """Tokens that wait, by tenant."""

    def __bool__(self) -> bool:
        return bool(self._turns)

    def append(self, pending: Pending) -> None:
        """Among those of its tenant; candidates that share a prompt stay neighbours, in their order."""
        if pending.tenant not in self._queues:
            self._queues[pending.tenant] = []
            self._arrived[pending.tenant] = 0
            self._turns.append(pending.tenant)
            self._credit.setdefault(pending.tenant, self._turn_tokens)
        encoded = pending.encoded
        length = encoded.num_tokens if pending.prefix is None else encoded.prefix_len
        due = self._arrived[pending.tenant] + min(self._stretch * length, pending.overtaking)
        self._arrived[pending.tenant] += encoded.num_tokens
        heappush(self._queues[pending.tenant], (due, next(self._numbers), pending))

    def next(self, prefixes: set[bytes]) -> Pending | None:
        """The item whose turn it is; None when nothing waits."""
        while self._turns:
            tenant = self._turns[0]
            queue = self._queues[tenant]
            while queue and not queue[0][2].counted:  # nobody waits for it any more, or another lane had it
                heappop(queue)
            if not queue:
                self._end(tenant)
            elif self._credit[tenant] > 0 or queue[0][2].prefix in prefixes:
                return queue[0][2]
            else:
                self._credit[tenant] += self._turn_tokens
                self._turns.rotate(-1)
        self._credit.clear()
        return None

    def pay(self, cost: float) -> None:
        """The item of `next` was taken at `cost` tokens."""
        tenant = self._turns[0]
        heappop(self._queues[tenant])
        # Alone it owes nobody: who comes later finds it with a turn's credit at most used up.
        self._credit[tenant] -= cost if len(self._turns) > 1 else min(cost, self._credit[tenant])

    def prune(self) -> None:
        """Let go of what `next` would skip."""
        for tenant, queue in self._queues.items():
            self._queues[tenant] = [waiting for waiting in queue if waiting[2].counted]
            heapify(self._queues[tenant])

    def drain(self) -> list[Pending]:
        """Everything that waits; the lane is empty then."""
        left = [p for queue in self._queues.values() for _, _, p in sorted(queue) if p.counted]
        self._queues.clear()
        self._arrived.clear()
        self._turns.clear()
        self._credit.clear()
        return left

    def _end(self, tenant: str) -> None:
        """Nothing of it waits; only what it owes is remembered, for as long as others wait."""
        self._turns.popleft()
        del self._queues[tenant], self._arrived[tenant]
        if self._credit[tenant] >= 0:
            del self._credit[tenant]
