"""How long a pool of engine processes waits for what."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """All in seconds.

    start_s: for a process to have loaded its weights.
    forward_s: for a batch; a process that takes longer hangs, and is killed.
    down_s: for a process to be there again, while none is; then batches fail.
    delay_s, max_delay_s: before a process is started again: doubled with each that ended within `stable_s` of
        its start, and bounded.
    """

    start_s: float = 600.0
    forward_s: float = 120.0
    down_s: float = 60.0
    delay_s: float = 0.1
    max_delay_s: float = 10.0
    stable_s: float = 60.0

    def delay_after(self, num_quick_ends: int) -> float:
        """Seconds to wait when so many processes in a row, one at least, ended soon."""
        return min(self.max_delay_s, self.delay_s * 2.0 ** min(num_quick_ends - 1, 32))
