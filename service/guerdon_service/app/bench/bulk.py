"""What a bulk load, as an evaluation makes it, does to interactive requests beside it."""

import asyncio
import json
from collections.abc import Sequence

from guerdon_service.app.bench.figure import Figure, at_most, plain
from guerdon_service.app.bench.http_load import Load, closed_loop
from guerdon_service.app.bench.process import running, service
from guerdon_service.app.bench.rows import SCORE, drive, singles
from guerdon_service.app.bench.texts import Item, mixed_items

INTERACTIVE = 16
"""Connections with one item each; alone they keep the service busy."""
BULK, CHUNK_ITEMS = 3, 64
"""Requests and items under way, as an evaluation has them."""


def interactive_beside_bulk(source: str, rounds: int, count: int) -> list[Figure]:
    """p99 of interactive requests while a bulk load runs, over their p99 alone."""
    growths, alone_ms, beside_ms = [], [], []
    command, environ = service(source, dtype="float32", backend="torch")
    with running(command, environ) as process:
        drive(process.port, singles(mixed_items(INTERACTIVE, seed=0)), INTERACTIVE)
        for number in range(rounds):
            items = [mixed_items(count, seed=3 * number + k) for k in (1, 2, 3)]
            alone = drive(process.port, singles(items[0]), INTERACTIVE)
            beside = asyncio.run(_beside(process.port, singles(items[1]), items[2]))
            alone_ms.append(alone.quantile_ms(0.99))
            beside_ms.append(beside.quantile_ms(0.99))
            growths.append(beside_ms[-1] / alone_ms[-1])
    return [
        at_most(f"interactive p99 beside bulk / alone, concurrency {INTERACTIVE}", growths, 1.5, ""),
        plain("interactive p99 alone", alone_ms, "ms"),
        plain("interactive p99 beside bulk", beside_ms, "ms"),
    ]


async def _beside(port: int, interactive: Sequence[bytes], items: Sequence[Item]) -> Load:
    chunk = [{"prompt": i.prompt, "response": i.response} for i in items[:CHUNK_ITEMS]]
    # The same chunk again would be a cache hit, were the cache on; a number makes each its own.
    bodies = [
        json.dumps({"lane": "bulk", "items": [c | {"prompt": f"{n} {c['prompt']}"} for c in chunk]}).encode()
        for n in range(100)
    ]
    bulk = asyncio.create_task(closed_loop(port, SCORE, bodies, BULK))
    load = await closed_loop(port, SCORE, interactive, INTERACTIVE)
    assert not bulk.done(), "the bulk load ended first: it must outlast the interactive one"
    bulk.cancel()
    await asyncio.gather(bulk, return_exceptions=True)
    return load
