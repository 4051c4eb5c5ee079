"""Nobody starves: how much one engine computes while a request waits has a bound."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from guerdon_service.core.encoded import Encoded
from guerdon_service.core.query import Lane
from guerdon_service.engine.fair_lane import STRETCH
from tests.simulation.world import World

PATIENCE = 30.0
"""While a request waits, its engine computes at most this many times the tokens that its tenant had waiting
in its lane, and `SLACK_BATCHES` more: three tenants take turns, bulk has a fifth of the tokens, and twice."""
SLACK_BATCHES = 12
OVERTAKING = 7.5 * STRETCH
"""And so many times its longest item in the interactive lane, where shorter ones may go first: three tenants,
what bulk work is owed meanwhile, and twice."""


@dataclass(eq=False)
class _Waiting:
    lane: Lane
    tenant: str
    num_tokens: int
    keys: Sequence[bytes]
    patience: float


class Fairness:
    """The requests that wait for one engine."""

    def __init__(self, world: World, max_batch_tokens: int) -> None:
        self._world = world
        self._budget = max_batch_tokens
        self._waiting: list[_Waiting] = []
        self.is_queued: Callable[[bytes], bool] = lambda key: True
        """Whether the item of a fingerprint waits in the queue; one that a thread has taken, and may try
        again, does not wait for its turn."""

    def enter(self, encoded: Sequence[Encoded], keys: Sequence[bytes], lane: Lane, tenant: str) -> _Waiting:
        """A request was given to the engine."""
        num_tokens = sum(e.num_tokens for e in encoded)
        own = sum(w.num_tokens for w in self._waiting if (w.lane, w.tenant) == (lane, tenant))
        patience = PATIENCE * (own + num_tokens) + SLACK_BATCHES * max(self._budget, 64)
        if lane is Lane.INTERACTIVE:
            patience += OVERTAKING * max(e.num_tokens for e in encoded)
        self._waiting.append(_Waiting(lane, tenant, num_tokens, keys, patience))
        return self._waiting[-1]

    def leave(self, waiting: _Waiting) -> None:
        """It was answered, or has gone."""
        self._waiting.remove(waiting)

    def forwarded(self, batch: Sequence[Encoded], num_tokens: int) -> None:
        """The engine computes `num_tokens`."""
        for waiting in self._waiting:
            if any(map(self.is_queued, waiting.keys)):
                waiting.patience -= num_tokens
                self._world.require(waiting.patience > 0, f"no {waiting.lane} request starves")
