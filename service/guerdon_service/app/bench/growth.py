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
DEADLINE_MS = 3_600_000
"""10,000 mixed items are minutes of work for two cores."""
MAX_BODY_BYTES = 64 * 1024 * 1024
"""10,000 mixed items are 12 MB, more than is taken by default."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Items at each point (or one full request, where that is more), of so many tokens each."""

    name: str
    point_items: int
    shortest: int
    longest: int


WORKLOADS = (
    Workload("mixed lengths", 1_024, 20, 400),
    Workload("12 to 20 tokens", 2_048, 12, 20),
)
"""What users send, and items so short that what a request costs shows beside the model."""


def cost_growth(source: str, rounds: int) -> list[Figure]:
    """Items per second at each size, and the lowest of each series over its highest."""
    command, environ = service(source, dtype="bfloat16")
    with running(command, {**environ, "GUERDON_LIMITS__MAX_BODY_BYTES": str(MAX_BODY_BYTES)}) as process:
        drive(process.port, [_body(_items(WORKLOADS[0], IN_FLIGHT))], 1)
        before_mib = process.rss_mib()
        figures = [figure for workload in WORKLOADS for figure in _growth_of(workload, process, rounds)]
        grown_mib = process.rss_mib() - before_mib
    return [*figures, plain("memory grown by all of it", [grown_mib], "MiB")]


def _growth_of(workload: Workload, process: Process, rounds: int) -> list[Figure]:
    rates: dict[str, dict[int, list[float]]] = {"items a request": {}, "connections": {}}
    for _ in range(rounds):
        for size in ITEMS_PER_REQUEST:
            count = max(workload.point_items, size)
            rate = _items_per_s(process, _items(workload, count), size, max(1, IN_FLIGHT // size))
            rates["items a request"].setdefault(size, []).append(rate)
        for callers in CONNECTIONS:
            items = _items(workload, workload.point_items)
            rate = _items_per_s(process, items, max(1, IN_FLIGHT // callers), callers)
            rates["connections"].setdefault(callers, []).append(rate)
    return [_flatness(f"{name}, {workload.name}", by_size) for name, by_size in rates.items()]


def _items_per_s(process: Process, items: list[Item], size: int, connections: int) -> float:
    bodies = [_body(items[i : i + size]) for i in range(0, len(items), size)]
    return len(items) / drive(process.port, bodies, connections).elapsed_s


def _items(workload: Workload, count: int) -> list[Item]:
    return mixed_items(count, seed=9, shortest=workload.shortest, longest=workload.longest)


def _body(items: list[Item]) -> bytes:
    return score_body(items, DEADLINE_MS)


def _flatness(name: str, by_size: dict[int, list[float]]) -> Figure:
    """Slowest point over fastest, by round; the medians stand beside it."""
    series = list(zip(*by_size.values(), strict=True))
    ratios = [min(points) / max(points) for points in series]
    smallest, largest = min(by_size), max(by_size)
    title = f"slowest / fastest, {smallest} to {largest:,} {name}"
    return at_least(title, ratios, 0.95, "", **{f"at_{n}": median(r) for n, r in by_size.items()})
