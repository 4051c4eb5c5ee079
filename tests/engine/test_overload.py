"""Five times the work that can be done, from eight tenants of which one is greedy; in virtual time."""

import asyncio
import math
import random
from collections import Counter

import numpy as np
import pytest

from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import Overloaded
from guerdon_service.core.query import Lane
from guerdon_service.engine.admission import Admission
from guerdon_service.engine.pending import Pending
from guerdon_service.engine.token_queue import EXPRESS, TokenQueue
from tests.engine.cores import Cores

TENANTS = ("greedy", *"abcdefg")
GREEDY_SHARE, TIMES_CAPACITY, DEADLINE_S = 0.65, 5.0, 2.0
DURATION_S, LATE_EVERY_S = 30.0, 0.5
ITEMS_PER_S = 190.0
"""What two cores of `Cores` do of these lengths."""


class Crowd:
    """Asks, is admitted or refused, and counts the tokens that were done in time."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.queue = TokenQueue(2048, num_takers=2)
        self.cores = Cores(self.queue, (0, 1, EXPRESS), 1, self.done)
        self.admission = Admission("m", self.queue, 2_000_000, lambda: self.cores.now, lambda: 1)
        self.tokens, self.offered = Counter[str](), 0

    def done(self, batch: list[Pending], seconds: float) -> None:
        tokens = sum(p.encoded.num_tokens for p in batch)
        self.admission.forwarded(tokens, seconds)
        for p in batch:
            self.tokens[p.tenant] += p.encoded.num_tokens

    def run(self, late_s: float) -> None:
        """Every half a second the event loop is late by `late_s`: then it hears of all at once."""
        at = late_until = 0.0
        late_at = LATE_EVERY_S if late_s else math.inf
        while at < DURATION_S:
            at += self.rng.expovariate(TIMES_CAPACITY * ITEMS_PER_S)
            if at > late_at:
                late_until = late_at + late_s
                late_at = late_until + LATE_EVERY_S
            self.cores.run_until(max(at, late_until))
            tenant = "greedy" if self.rng.random() < GREEDY_SHARE else self.rng.choice(TENANTS[1:])
            self.ask(tenant, min(500, max(16, int(self.rng.lognormvariate(3.9, 0.8)))))

    def ask(self, tenant: str, length: int) -> None:
        now, encoded = self.cores.now, Encoded(np.zeros(length, np.int32), 1, truncated=False)
        self.offered += length
        try:
            admitted = self.admission.admit(Lane.INTERACTIVE, tenant, length, DEADLINE_S)
        except Overloaded:
            return
        future = asyncio.get_running_loop().create_future()
        pending = Pending(b"", encoded, Lane.INTERACTIVE, now + DEADLINE_S, None, future, now, tenant)
        pending.overtaking = admitted.overtaking
        self.queue.put([pending])


@pytest.mark.parametrize(("caution", "late_s", "most"), [(1.25, 0.0, 1.1), (4.0, 0.0, 1.1), (4.0, 0.6, 1.4)])
async def test_a_greedy_tenant_gets_its_share_while_the_others_are_refused_too(
    caution: float, late_s: float, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guerdon_service.engine.caution.LEAST", caution)
    crowd = Crowd(0)
    crowd.run(late_s)
    total = crowd.tokens.total()
    assert crowd.offered > 4 * total
    assert crowd.tokens["greedy"] <= most / 8 * total, {t: n / total for t, n in crowd.tokens.items()}


async def test_who_asks_for_what_nobody_could_do_in_time_takes_no_room_from_others() -> None:
    crowd = Crowd(0)
    crowd.admission.forwarded(1000, 1.0)
    crowd.ask("greedy", 100)
    for tenant in "abcdefg":
        with pytest.raises(Overloaded):
            crowd.admission.admit(Lane.INTERACTIVE, tenant, 100, 0.001)
    crowd.admission.admit(Lane.INTERACTIVE, "greedy", 1000, DEADLINE_S)
