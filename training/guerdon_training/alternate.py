"""Two ways to the same result, in turn: how fast each is, and the ratio, on a machine that others use too."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

Side = Callable[[int], Callable[[], int]]
"""Makes ready what a round (1, 2, ...) needs; what it gives is timed, and says how much work it did."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Units of work per second of CPU time and of wall time."""

    cpu: float
    wall: float


@dataclass(frozen=True, slots=True)
class Speeds:
    """A rate of each side for each round. ours: what this package does. plain: what it is compared with."""

    ours: tuple[Rate, ...]
    plain: tuple[Rate, ...]

    @property
    def ratios(self) -> list[float]:
        """Ours over plain by CPU time, a round each."""
        return [a.cpu / b.cpu for a, b in zip(self.ours, self.plain, strict=True)]

    def text(self, ours: str, plain: str, unit: str) -> str:
        """Medians and the range of the ratio, for people.

        Args:
            ours, plain: what the sides are called. unit: of the work.
        """
        lines = [_line(name, side, unit) for name, side in ((ours, self.ours), (plain, self.plain))]
        found = self.ratios
        ratio = f"{median(found):.2f} times [{min(found):.2f}, {max(found):.2f}] by CPU time"
        return "\n".join((*lines, ratio)) + "\n"


def alternate(ours: Side, plain: Side, rounds: int) -> Speeds:
    """Time the two in turn: what else the machine does then comes to both."""
    found = [(_timed(ours(number)), _timed(plain(number))) for number in range(1, rounds + 1)]
    return Speeds(*zip(*found, strict=True))


def _timed(work: Callable[[], int]) -> Rate:
    cpu, wall = time.process_time(), time.perf_counter()
    amount = work()
    return Rate(amount / (time.process_time() - cpu), amount / (time.perf_counter() - wall))


def _line(name: str, rates: tuple[Rate, ...], unit: str) -> str:
    cpu, wall = median(r.cpu for r in rates), median(r.wall for r in rates)
    return f"{name}: {cpu:.1f} {unit} per CPU second, {wall:.1f} per second"
