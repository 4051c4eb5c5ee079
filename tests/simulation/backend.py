"""The back end of a history: right scores or a fault, and a look at every batch that it is given."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from guerdon_service.core.encoded import Encoded
from guerdon_service.core.ports import ForwardStats
from tests.simulation.fairness import Fairness
from tests.simulation.plan import NOT_FINITE, POISON, Plan
from tests.simulation.world import World

HANG_S = 100.0


def true_scores(version: str, ids: Sequence[int]) -> list[float]:
    """Of both heads; small whole numbers, so float32 holds them exactly."""
    weighted = sum((i + 1) * (token % 97) for i, token in enumerate(ids))
    return [float(1000 * int(version) + weighted), float(int(version) + len(ids))]


class SimulatedBackend:
    """`core.ports.ParallelBackend` on a `World`."""

    name = "fake"
    dtype = "float32"
    num_heads = 2

    def __init__(self, world: World, plan: Plan, version: str, fairness: Fairness) -> None:
        self.shares_prefix = plan.shares_prefix
        self.num_parallel = plan.num_parallel
        self.has_died = False
        self.has_hung = False
        self.is_closed = False
        self._world = world
        self._plan = plan
        self._version = version
        self._fairness = fairness
        self._num_busy = 0

    def forward(self, batch: Sequence[Encoded]) -> tuple[NDArray[np.float32], ForwardStats]:
        self._world.require(not self.is_closed, "no forward after close")
        self._num_busy += 1
        most = self.num_parallel + (self.num_parallel > 1)
        self._world.require(self._num_busy <= most, "as many forwards at a time as there may be")
        try:
            return self._forward(batch)
        finally:
            self._num_busy -= 1

    def close(self) -> None:
        self._world.require(not self.is_closed, "closed once")
        self._world.require(not self._num_busy, "not closed within a forward")
        self.is_closed = True

    def _forward(self, batch: Sequence[Encoded]) -> tuple[NDArray[np.float32], ForwardStats]:
        world, faults = self._world, self._plan.faults
        num_tokens = self._num_computed(batch)
        world.note("forward", self._version, len(batch), "items", num_tokens, "tokens")
        budget = self._plan.limits.max_batch_tokens
        world.require(num_tokens <= budget or len(batch) == 1, "no batch of several items over the budget")
        self._fairness.forwarded(batch, num_tokens)
        if world.random.random() < faults.hang_share:
            self.has_hung = True
            world.sleep(HANG_S)
        world.sleep(self._plan.forward_s * world.random.expovariate(1.0))
        if world.now - 1000.0 > faults.dies_at_s:
            self.has_died = True
            raise SystemExit
        if len(batch) > 1 and num_tokens > faults.max_tokens:
            raise MemoryError
        rows = [self._row(encoded) for encoded in batch]
        if len(batch) > 1 and world.random.random() < faults.misshapen_share:
            rows = world.random.choice((rows[:-1], [*rows, rows[0]], [row[:1] for row in rows]))
        return np.asarray(rows, dtype=np.float32), ForwardStats(num_tokens, num_tokens)

    def _row(self, encoded: Encoded) -> list[float]:
        ids = encoded.input_ids.tolist()
        if ord(POISON) in ids:
            raise RuntimeError("poisoned item")
        return [float("nan")] * 2 if ord(NOT_FINITE) in ids else true_scores(self._version, ids)

    def _num_computed(self, batch: Sequence[Encoded]) -> int:
        prefixes = {e.input_ids[: e.prefix_len].tobytes(): e.prefix_len for e in batch}
        if not self.shares_prefix:
            return sum(e.num_tokens for e in batch)
        return sum(prefixes.values()) + sum(e.num_tokens - e.prefix_len for e in batch)
