"""Cost growth: the same items in requests of one to 10,000, and over one to 512 connections."""

from guerdon_service.app.bench.figure import Figure, at_least, median, plain
from guerdon_service.app.bench.process import Process, running, service
from guerdon_service.app.bench.rows import drive, score_body
from guerdon_service.app.bench.texts import Item, mixed_items

ITEMS_PER_REQUEST = (1, 10, 100, 1_000, 10_000)
CONNECTIONS = (1, 8, 64, 512)
POINT_ITEMS = 2_048
"""Items at each point, or one full request where that is more."""
IN_FLIGHT = 512
"""Items under way at least: fewer callers send larger requests, so that every point can fill the batches."""
SHORTEST, LONGEST = 12, 20
"""Tokens of an item: few, so that what a request and an item cost shows beside the model."""


def cost_growth(source: str, rounds: int) -> list[Figure]:
    """Items per second at each size, and the lowest of each series over its highest."""
    rates: dict[str, dict[int, list[float]]] = {"items a request": {}, "connections": {}}
    with running(*service(source, dtype="bfloat16")) as process:
        drive(process.port, [score_body(_items(IN_FLIGHT))], 1)
        before_mib = process.rss_mib()
        for _ in range(rounds):
            for size in ITEMS_PER_REQUEST:
                rate = _items_per_s(process, max(POINT_ITEMS, size), size, max(1, IN_FLIGHT // size))
                rates["items a request"].setdefault(size, []).append(rate)
            for callers in CONNECTIONS:
                rate = _items_per_s(process, POINT_ITEMS, IN_FLIGHT // callers, callers)
                rates["connections"].setdefault(callers, []).append(rate)
        grown_mib = process.rss_mib() - before_mib
    return [
        *(_flatness(name, by_size) for name, by_size in rates.items()),
        plain("memory grown by all of it", [grown_mib], "MiB"),
    ]


def _items_per_s(process: Process, count: int, size: int, connections: int) -> float:
    items = _items(count)
    bodies = [score_body(items[i : i + size]) for i in range(0, count, size)]
    return count / drive(process.port, bodies, connections).elapsed_s


def _items(count: int) -> list[Item]:
    return mixed_items(count, seed=9, shortest=SHORTEST, longest=LONGEST)


def _flatness(name: str, by_size: dict[int, list[float]]) -> Figure:
    """Slowest point over fastest, by round; the medians stand beside it."""
    series = list(zip(*by_size.values(), strict=True))
    ratios = [min(points) / max(points) for points in series]
    smallest, largest = min(by_size), max(by_size)
    title = f"slowest / fastest, {smallest} to {largest:,} {name}"
    return at_least(title, ratios, 0.95, "", **{f"at_{n}": median(r) for n, r in by_size.items()})
