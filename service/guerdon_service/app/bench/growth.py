"""Cost growth: the same items in requests of one to 10,000, and over one to 512 connections."""

from dataclasses import dataclass

from guerdon_service.app.bench.figure import Figure, at_least, median, plain
from guerdon_service.app.bench.process import Process, running, service
from guerdon_service.app.bench.rows import drive, score_body
from guerdon_service.app.bench.texts import Item, mixed_items

ITEMS_PER_REQUEST = (1, 10, 100, 1_000, 10_000)
CONNECTIONS = (1, 8, 64, 512)
IN_FLIGHT = 512
"""Items under way at least: fewer callers send larger requests, so that every point can fill the batches."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Items of `shortest` to `longest` tokens; `num_items` at each point, or one request if it has more."""

    name: str
    shortest: int
    longest: int
    num_items: int

    def items(self, count: int) -> list[Item]:
        """Always the same."""
        return mixed_items(count, seed=9, shortest=self.shortest, longest=self.longest)


KINDS = (
    Kind("items", 20, 400, 512),
    Kind("short items", 12, 20, 2_048),  # beside so small a forward what a request costs shows
)


def cost_growth(source: str, rounds: int) -> list[Figure]:
    """Items per second at each size, and the lowest of each series over its highest."""
    with running(*service(source, dtype="bfloat16")) as process:
        drive(process.port, [score_body(KINDS[0].items(IN_FLIGHT))], 1)
        before_mib = process.rss_mib()
        figures = [figure for kind in KINDS for figure in _growth(process, kind, rounds)]
        grown_mib = process.rss_mib() - before_mib
    return [*figures, plain("memory grown by all of it", [grown_mib], "MiB")]


def _growth(process: Process, kind: Kind, rounds: int) -> list[Figure]:
    by_size: dict[int, list[float]] = {}
    by_callers: dict[int, list[float]] = {}
    for _ in range(rounds):
        for size in ITEMS_PER_REQUEST:
            rate = _items_per_s(process, kind, max(kind.num_items, size), size, max(1, IN_FLIGHT // size))
            by_size.setdefault(size, []).append(rate)
        for callers in CONNECTIONS:
            rate = _items_per_s(process, kind, kind.num_items, IN_FLIGHT // callers, callers)
            by_callers.setdefault(callers, []).append(rate)
    return [
        _flatness(f"{kind.name} a request", by_size),
        _flatness(f"connections, {kind.name}", by_callers),
    ]


def _items_per_s(process: Process, kind: Kind, count: int, size: int, connections: int) -> float:
    items = kind.items(count)
    bodies = [score_body(items[i : i + size]) for i in range(0, count, size)]
    return count / drive(process.port, bodies, connections).elapsed_s


def _flatness(name: str, by_size: dict[int, list[float]]) -> Figure:
    """Slowest point over fastest, by round; the medians stand beside it."""
    series = list(zip(*by_size.values(), strict=True))
    ratios = [min(points) / max(points) for points in series]
    smallest, largest = min(by_size), max(by_size)
    title = f"slowest / fastest, {smallest} to {largest:,} {name}"
    return at_least(title, ratios, 0.95, "", **{f"at_{n}": median(r) for n, r in by_size.items()})
