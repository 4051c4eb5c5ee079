"""How fast forwards go, for honest estimates of waits."""

from collections import deque

MEMORY_BATCHES = 16


class Throughput:
    """Seconds per token: the median of the last forwards, each weighing as much as it has tokens.

    So one forward that stalled says nothing, and neither do tiny ones, whose tokens are dear.
    """

    def __init__(self) -> None:
        self._forwards: deque[tuple[float, int]] = deque(maxlen=MEMORY_BATCHES)
        self._seconds_per_token: float | None = None

    @property
    def is_known(self) -> bool:
        """Whether a forward was measured."""
        return self._seconds_per_token is not None

    def add(self, num_tokens: int, seconds: float) -> None:
        """Account for one forward."""
        self._forwards.append((seconds / num_tokens, num_tokens))
        half = sum(tokens for _, tokens in self._forwards) / 2
        for pace, tokens in sorted(self._forwards):
            half -= tokens
            if half <= 0:
                self._seconds_per_token = pace
                return

    def seconds_for(self, num_tokens: float) -> float:
        """Seconds that `num_tokens` should take; one second before anything was measured."""
        return 1.0 if self._seconds_per_token is None else num_tokens * self._seconds_per_token
