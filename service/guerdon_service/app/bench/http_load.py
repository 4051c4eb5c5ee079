"""A load generator that costs little: HTTP/1.1 over kept-alive sockets, closed and open loop.

A full HTTP client would spend a good part of a two-core machine on itself and be measured with the service.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Load:
    """What a run of requests took. Latencies in seconds, one per request."""

    latencies_s: list[float]
    elapsed_s: float
    num_failed: int

    @property
    def requests_per_s(self) -> float:
        """Answered requests per second."""
        return (len(self.latencies_s) - self.num_failed) / self.elapsed_s

    def quantile_ms(self, q: float) -> float:
        """Latency quantile in milliseconds."""
        return float(np.quantile(self.latencies_s, q)) * 1000


class Connection:
    """One kept-alive connection; one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> "Connection":
        """Connect to a port of this machine."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def post(self, path: str, body: bytes, headers: str = "") -> tuple[int, bytes]:
        """Status and body of one answer; `headers` are more lines of the request's head."""
        head = (
            f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n{headers}\r\n"
        )
        self._writer.write(head.encode() + body)
        head_bytes = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head_bytes.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        return int(head_bytes[9:12]), await self._reader.readexactly(length)

    @property
    def is_over(self) -> bool:
        """The server has hung up."""
        return self._reader.at_eof()

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


async def closed_loop(port: int, path: str, bodies: Sequence[bytes], concurrency: int) -> Load:
    """Each of `concurrency` connections sends its next request when it has its answer."""
    queue = list(reversed(bodies))
    latencies: list[float] = []
    failed = 0

    async def drive() -> None:
        nonlocal failed
        connection = await Connection.open(port)
        while queue:
            body = queue.pop()
            sent = time.perf_counter()
            status, _ = await connection.post(path, body)
            latencies.append(time.perf_counter() - sent)
            failed += status != 200
        connection.close()

    started = time.perf_counter()
    await asyncio.gather(*(drive() for _ in range(concurrency)))
    return Load(latencies, time.perf_counter() - started, failed)


async def open_loop(port: int, path: str, bodies: Sequence[bytes], rate_per_s: float, seed: int) -> Load:
    """Poisson arrivals at `rate_per_s`, whether answers come or not; a connection per request under way.

    A latency starts when its request was due: a generator that falls behind hides nothing.
    """
    rng = random.Random(seed)
    idle: list[Connection] = []
    latencies: list[float] = []
    failed = 0

    async def one(body: bytes, due: float) -> None:
        nonlocal failed
        connection = idle.pop() if idle else await Connection.open(port)
        status, _ = await connection.post(path, body)
        latencies.append(time.perf_counter() - due)
        failed += status != 200
        idle.append(connection)

    started = time.perf_counter()
    due = started
    async with asyncio.TaskGroup() as group:
        for body in bodies:
            due += rng.expovariate(rate_per_s)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            group.create_task(one(body, due))
    for connection in idle:
        connection.close()
    return Load(latencies, time.perf_counter() - started, failed)
