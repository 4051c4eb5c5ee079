"""What the service costs besides the model: its CPU time for items that the cache answers."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc

from guerdon_protos.v1 import guerdon_pb2, guerdon_pb2_grpc
from guerdon_service.app.bench.figure import Figure, at_most
from guerdon_service.app.bench.process import Process, running, service
from guerdon_service.app.bench.rows import drive, score_body, singles
from guerdon_service.app.bench.texts import mixed_items

SINGLES, LARGE_ITEMS, LARGE = 2_000, 512, 20
"""Requests of one item, items of a large request, and large requests, per round."""
CALLERS = 4
"""Of single items. With a lone one the service sleeps before each request, and waking costs as much again."""


def cached_overhead(source: str, rounds: int) -> list[Figure]:
    """Microseconds of CPU per cached item: alone over REST and gRPC, and among 512."""
    items = mixed_items(LARGE_ITEMS, seed=7)
    one, all_items = singles(items[:1]), score_body(items)
    request = guerdon_pb2.ScoreRequest(
        items=[guerdon_pb2.ScoreItem(prompt=items[0].prompt, response=items[0].response)]
    )
    with (
        running(*service(source, cache=True)) as process,
        grpc.insecure_channel(f"127.0.0.1:{process.grpc_port}") as channel,
        ThreadPoolExecutor(CALLERS) as callers,
    ):
        stub = guerdon_pb2_grpc.RewardServiceStub(channel)
        requests = [request] * SINGLES
        ways: dict[str, tuple[int, float, Callable[[], object]]] = {
            "REST, one": (SINGLES, 250, lambda: drive(process.port, one * SINGLES, CALLERS)),
            "gRPC, one": (SINGLES, 200, lambda: list(callers.map(stub.Score, requests))),
            "gRPC, one, a caller who waits": (SINGLES, 200, lambda: [*map(stub.Score, requests)]),
            "REST, 512": (LARGE * LARGE_ITEMS, 15, lambda: drive(process.port, [all_items] * LARGE, 1)),
        }
        drive(process.port, [all_items], 1)
        figures = []
        for name, (count, asked, run) in ways.items():
            spent_us = [_cpu_us(process, run, count) for _ in range(rounds)]
            figures.append(at_most(f"CPU per cached item: {name}", spent_us, asked, "us"))
        return figures


def _cpu_us(process: Process, run: Callable[[], object], num_items: int) -> float:
    before = process.cpu_s()
    run()
    return (process.cpu_s() - before) / num_items * 1e6
