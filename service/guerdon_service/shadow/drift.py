"""Whether what a model sees and gives has moved since it began to answer.

This audits, it does not warn: a distribution can move without harm (another customer), and harm can come
without any movement. Read it beside feedback and evaluations.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from guerdon_service.core.statistics.drift import kolmogorov_smirnov, population_stability_index

WINDOW = 1000
"""Values in the reference and in the current window: with no drift the PSI of independent values is about
0.02, and below 0.05 in 99 of 100 looks; with k alike from each request, about k times that."""
STRIDE = WINDOW
"""New values between two looks: each is at a window of its own, and a look costs a millisecond."""


@dataclass(frozen=True, slots=True)
class DriftFigures:
    """Of the current window against the reference: PSI in nats, and the Kolmogorov-Smirnov distance."""

    psi: float
    ks: float


@dataclass(slots=True)
class DriftWatch:
    """One measure of one model. The reference is the first `WINDOW` values since the service started."""

    reference: list[float] = field(default_factory=list)
    current: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _since: int = 0

    def observe(self, values: Sequence[float]) -> DriftFigures | None:
        """Take in values; figures when it was time for a look, None otherwise."""
        room = WINDOW - len(self.reference)
        self.reference.extend(values[:room])
        fresh = values[room:] if room > 0 else values
        self.current.extend(fresh)
        self._since += len(fresh)
        if len(self.current) < WINDOW or self._since < STRIDE:
            return None
        self._since = 0
        now = list(self.current)
        return DriftFigures(
            population_stability_index(self.reference, now),
            kolmogorov_smirnov(self.reference, now).statistic,
        )
