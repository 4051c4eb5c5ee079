"""How fast forwards go, for honest retry hints."""

HALF_LIFE_BATCHES = 8.0


class Throughput:
    """Exponentially weighted tokens and seconds; their ratio is tokens per second."""

    def __init__(self) -> None:
        self._tokens = 0.0
        self._seconds = 0.0

    def add(self, num_tokens: int, seconds: float) -> None:
        """Account for one forward."""
        keep = 0.5 ** (1.0 / HALF_LIFE_BATCHES)
        self._tokens = keep * self._tokens + num_tokens
        self._seconds = keep * self._seconds + seconds

    def seconds_for(self, num_tokens: int) -> float:
        """Seconds that `num_tokens` should take; one second before anything was measured."""
        if self._tokens <= 0.0:
            return 1.0
        return num_tokens * self._seconds / self._tokens
