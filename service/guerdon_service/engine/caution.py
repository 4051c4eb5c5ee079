"""How much longer a wait may become than was estimated: learned from who came too late."""

import math

STEP = 1.25
"""What one rise multiplies the factor by."""
HALF_LIFE_S = 60.0
"""After so long without a rise the factor has halved, so that nothing learned stays true for ever."""
LEAST, MOST = 1.25, 4.0


class Caution:
    """What an estimated wait is multiplied by before anyone is admitted.

    An estimate knows what waits now; what overtakes it later it cannot know. Whoever was let in by an
    estimate and is late raises the factor. Late ones that were let in before the last rise say nothing new,
    and raise nothing; as a sender backs off once for all the losses of a round trip (Jacobson 1988).
    """

    def __init__(self) -> None:
        self._raised = LEAST
        self._raised_at = -math.inf

    def factor(self, now: float) -> float:
        """`LEAST` to `MOST`."""
        return max(LEAST, self._raised * math.exp2((self._raised_at - now) / HALF_LIFE_S))

    def late(self, queued_at: float, now: float) -> None:
        """An item that was let in at `queued_at` by an estimate waited too long."""
        if queued_at >= self._raised_at:
            self._raised = min(MOST, self.factor(now) * STEP)
            self._raised_at = now
