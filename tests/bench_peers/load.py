"""Load on one server: closed loop, or Poisson arrivals; what came back, and when."""

import asyncio
import json
import math
import random
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np

from guerdon_service.app.bench.http_load import Connection
from tests.bench_peers.wire import Text, Wire
from tests.bench_peers.workload import Ask

TIMEOUT_S = 400.0
"""Of one run: a server that takes longer is stuck."""


@dataclass(slots=True)
class Run:
    """What one run took.

    latencies_s: by kind of ask, from when it was due to its last reply.
    replies: of each ask, by its number.
    foreign_cores: processor time a second of whatever is neither this server nor this process.
    """

    num_items: int = 0
    elapsed_s: float = 0.0
    latencies_s: dict[str, list[float]] = field(default_factory=dict)
    replies: dict[int, list[bytes]] = field(default_factory=dict)
    foreign_cores: float = 0.0

    @property
    def items_per_s(self) -> float:
        """Items answered per second."""
        return self.num_items / self.elapsed_s

    def quantile_ms(self, kind: str, q: float) -> float:
        """Latency quantile of one kind, in milliseconds."""
        return float(np.quantile(self.latencies_s[kind], q)) * 1000

    def scores(self, wire: Wire) -> list[float]:
        """Of all items, in order."""
        replies = (reply for number in sorted(self.replies) for reply in self.replies[number])
        return [score for reply in replies for score in wire.scores(json.loads(reply))]


@dataclass(frozen=True, slots=True)
class _Prepared:
    kind: str
    num_items: int
    path: str
    bodies: list[bytes]


def closed(
    port: int, wire: Wire, text: Text, asks: Sequence[Ask], concurrency: int, seconds: float = math.inf
) -> Run:
    """Each of `concurrency` callers asks, and asks again once answered, while asks and `seconds` last.

    Raises:
        RuntimeError: a reply was not 200.
        TimeoutError: the run took longer than `TIMEOUT_S`.
    """

    async def work() -> Run:
        crowd = _Crowd(port)
        todo = iter(enumerate(_prepared(wire, text, asks)))

        async def caller() -> None:
            for number, ask in todo:
                await crowd.ask(number, ask, time.perf_counter())
                if time.perf_counter() >= ends_at:
                    break

        async with crowd.clock():
            ends_at = time.perf_counter() + seconds
            await asyncio.gather(*(caller() for _ in range(concurrency)))
        return crowd.run

    return asyncio.run(work())


def poisson(port: int, wire: Wire, text: Text, asks: Sequence[Ask], rate_per_s: float, seed: int) -> Run:
    """Asks come at random at `rate_per_s`, whether answers do or not; each one's clock starts when it is due.

    Raises:
        ExceptionGroup: of what `closed` raises.
        TimeoutError: as `closed`.
    """

    async def work() -> Run:
        crowd, rng = _Crowd(port), random.Random(seed)
        prepared = _prepared(wire, text, asks)
        async with crowd.clock(), asyncio.TaskGroup() as group:
            due = time.perf_counter()
            for number, ask in enumerate(prepared):
                due += rng.expovariate(rate_per_s)
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                group.create_task(crowd.ask(number, ask, due))
        return crowd.run

    return asyncio.run(work())


def _prepared(wire: Wire, text: Text, asks: Sequence[Ask]) -> list[_Prepared]:
    """Bodies are made before the clock starts."""
    many = wire.path_of_many or wire.path
    return [
        _Prepared(a.kind, len(a.items), many if len(a.items) > 1 else wire.path, wire.bodies(a.items, text))
        for a in asks
    ]


class _Crowd:
    """Callers of one server; connections are used again, and there are as many as are needed at once."""

    def __init__(self, port: int) -> None:
        self.run = Run()
        self._port = port
        self._idle: list[Connection] = []

    async def ask(self, number: int, ask: _Prepared, due: float) -> None:
        """All calls of one ask, at once."""
        self.run.replies[number] = await asyncio.gather(*(self._post(ask.path, body) for body in ask.bodies))
        self.run.num_items += ask.num_items
        self.run.latencies_s.setdefault(ask.kind, []).append(time.perf_counter() - due)

    @asynccontextmanager
    async def clock(self) -> AsyncIterator[None]:
        """Time what is inside, and hang up after it."""
        started = time.perf_counter()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                yield
        finally:
            self.run.elapsed_s = time.perf_counter() - started
            for connection in self._idle:
                connection.close()

    async def _post(self, path: str, body: bytes) -> bytes:
        while self._idle and self._idle[-1].is_over:
            self._idle.pop().close()
        connection = self._idle.pop() if self._idle else await Connection.open(self._port)
        status, reply = await connection.post(path, body)
        if status != 200:
            connection.close()
            raise RuntimeError(f"{path} answered {status}: {reply[:300].decode(errors='replace')}")
        self._idle.append(connection)
        return reply
