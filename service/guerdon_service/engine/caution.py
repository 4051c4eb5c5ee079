"""How much longer a wait may become than was estimated: learned from who came too late."""

from math import inf

STEP = 0.25
LATE_SHARE = 0.001
"""Of the items that were admitted by an estimate, how many may be late."""
LEAST, MOST = 1.25, 4.0


class Caution:
    """What an estimated wait is multiplied by before anyone is admitted.

    An estimate knows what waits now; what overtakes it later it cannot know. So the factor follows the
    quantile of the waits (stochastic approximation, Robbins and Monro 1951): an item that is late raises it,
    each in time lowers it by `LATE_SHARE` of that. Late ones that were admitted before the last rise say
    nothing new, and raise nothing; as a sender backs off once for all the losses of a round trip (Jacobson
    1988).
    """

    def __init__(self) -> None:
        self.factor = LEAST
        self._raised_at = -inf

    def late(self, queued_at: float, now: float) -> None:
        """An item that was admitted at `queued_at` by an estimate waited too long."""
        if queued_at >= self._raised_at:
            self._raised_at = now
            self.factor = min(MOST, self.factor * (1 + STEP))

    def in_time(self) -> None:
        """One did not."""
        self.factor = max(LEAST, self.factor * (1 - STEP * LATE_SHARE))
