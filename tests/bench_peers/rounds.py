"""Alternating rounds: each server gets the same work, one server at a time, in an order that turns."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeVar

from tests.bench_peers.load import Run
from tests.bench_peers.processor import watched
from tests.bench_peers.server import Live

T = TypeVar("T")
Measure = Callable[[Live, int], Run]
"""One run on a server, of the round whose number it is given; round -1 warms up and does not count."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A server's runs, one a round."""

    live: Live
    runs: list[Run]

    @property
    def label(self) -> str:
        """The server's."""
        return self.live.server.label


def alternate(lives: Sequence[Live], rounds: int, measure: Measure, title: str) -> list[Measured]:
    """Warm every server up, then measure each in each round; one that fails is left out, and said so."""
    found = {live.server.label: Measured(live, []) for live in lives}
    for number in range(-1, rounds):
        for live in rotated(lives, number):
            if live.server.label not in found:
                continue
            try:
                with alone(live, lives), watched(live.child.pid) as foreign:
                    run = measure(live, number)
            except (OSError, RuntimeError, EOFError, ExceptionGroup) as error:
                _tell(f"{title}: {live.server.label} fails and is left out: {error}")
                del found[live.server.label]
                continue
            run.foreign_cores = foreign.cores
            if number >= 0:
                found[live.server.label].runs.append(run)
            which = f"round {number + 1} of {rounds}" if number >= 0 else "warm-up"
            rate = f"{run.items_per_s:.1f} items/s, {run.elapsed_s:.1f} s"
            _tell(f"{title}: {which}: {live.server.label}: {rate}, others used {run.foreign_cores:.1f} cores")
    return list(found.values())


@contextmanager
def alone(live: Live, lives: Sequence[Live]) -> Iterator[None]:
    """The other servers stand still meanwhile."""
    with ExitStack() as stack:
        for other in lives:
            if other is not live:
                stack.enter_context(other.halted())
        yield


def rotated(servers: Sequence[T], number: int) -> list[T]:
    """The order of one round: each server takes each place in turn."""
    start = number % len(servers) if servers else 0
    return [*servers[start:], *servers[:start]]


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
