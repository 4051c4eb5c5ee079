"""Far more requests than can be served: who is answered in time, who is refused, and how fast.

The load is an open loop: it does not wait for answers, as crowds do not.
"""

import asyncio
import hashlib
import itertools
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import uvloop

from guerdon_service.app.bench.figure import Figure, at_least, at_most, plain
from guerdon_service.app.bench.http_load import Connection
from guerdon_service.app.bench.process import Process, running, service
from guerdon_service.app.bench.rows import SCORE, score_body
from guerdon_service.app.bench.texts import Item, mixed_items

TENANTS = ("greedy", "a", "b", "c", "d", "e", "f", "g")
GREEDY_SHARE = 0.65
"""Of the requests; each of the others asks for more than its eighth of the capacity, too."""
TIMES_CAPACITY = 5.0
DEADLINE_S = 2.0
PATIENT_S = 60.0
"""The deadline while the capacity is measured: with a queue of that many callers nobody is refused."""
CONCURRENCY = 64
HUNG_UP = 0
"""In place of a status: there were too many connections, as when this machine is too busy to take them."""


@dataclass(slots=True)
class _Answers:
    """Of one run: latencies in seconds by status, and answered requests and their bytes by tenant.

    What tenants share is the work, which goes with the bytes: who sends more has more short ones served.
    """

    latencies_s: dict[int, list[float]] = field(default_factory=dict)
    served: Counter[str] = field(default_factory=Counter)
    served_bytes: Counter[str] = field(default_factory=Counter)
    without_hint: int = 0

    def add(self, tenant: str, num_bytes: int, status: int, seconds: float, body: bytes) -> None:
        self.latencies_s.setdefault(status, []).append(seconds)
        self.served[tenant] += status == 200
        self.served_bytes[tenant] += num_bytes * (status == 200)
        self.without_hint += status == 429 and not json.loads(body)["error"]["retry_after_ms"]

    def p99_ms(self, status: int) -> float:
        return float(np.quantile(self.latencies_s.get(status, [0.0]), 0.99)) * 1000

    def greedy_share(self, by: Counter[str]) -> float:
        return by["greedy"] / max(1, by.total())

    def count(self, status: int) -> int:
        return len(self.latencies_s.get(status, []))


def overload(source: str, count: int, duration_s: float) -> list[Figure]:
    """Open loop at five times the capacity, from eight tenants of which one asks for two thirds."""
    items = mixed_items(count, seed=8)
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder) / "keys"
        keys.write_text("".join(f"{t} {hashlib.sha256(t.encode()).hexdigest()} score\n" for t in TENANTS))
        command, environ = service(source)
        with running(command, {**environ, "GUERDON_API_KEY_FILE": str(keys)}) as process:
            return uvloop.run(_measure(process, items, duration_s))


async def _measure(process: Process, items: Sequence[Item], duration_s: float) -> list[Figure]:
    bodies = [_body(item.prompt, item.response, PATIENT_S) for item in items]
    await _closed(process.port, bodies[:CONCURRENCY])
    rss_before_mib = process.rss_mib()
    capacity_before = await _closed(process.port, bodies)
    answers = _Answers()
    started = time.perf_counter()
    await _open(process.port, items, TIMES_CAPACITY * capacity_before, duration_s, answers)
    elapsed_s = time.perf_counter() - started
    recovery_s = await _recovery_s(process.port, bodies[0], 2 * CONCURRENCY / capacity_before)
    capacity_after = await _closed(process.port, bodies)
    capacity = (capacity_before + capacity_after) / 2  # a shared host has another pace every minute
    in_time = sum(s <= DEADLINE_S for s in answers.latencies_s.get(200, []))
    late = answers.count(504)
    return [
        at_least("goodput at 5x / capacity", [in_time / elapsed_s / capacity], 0.9,
                 capacity_before=capacity_before, capacity_after=capacity_after,
                 answered=answers.count(200), refused=answers.count(429), late=late,
                 hung_up=answers.count(HUNG_UP) + answers.count(503)),
        at_most("accepted p99 at 5x, deadline 2 s", [answers.p99_ms(200)], 1000 * DEADLINE_S, "ms"),
        at_most("refused p99 at 5x", [answers.p99_ms(429)], 20.0, "ms", without_hint=answers.without_hint),
        at_most("share of the work of the greedy one of eight tenants",
                [answers.greedy_share(answers.served_bytes)], 1.1 / 8, "",
                of_answers=answers.greedy_share(answers.served)),
        plain("memory grown at 5x", [process.rss_mib() - rss_before_mib], "MiB"),
        at_most("recovered after", [recovery_s], 2.0, "s"),
    ]  # fmt: skip


async def _closed(port: int, bodies: Sequence[bytes]) -> float:
    """Requests per second that `CONCURRENCY` connections, which wait for their answers, have answered.

    A refusal takes no time and is no answer: who is refused comes again when told to.

    Raises:
        RuntimeError: a request was neither answered nor refused with when to come back.
    """
    queue = list(bodies)

    async def drive() -> None:
        connection = await Connection.open(port)
        while queue:
            body = queue.pop()
            if wait_ms := _wait_ms(*await connection.post(SCORE, body, _key("a"))):
                queue.append(body)
                await asyncio.sleep(wait_ms / 1000)
        connection.close()

    started = time.perf_counter()
    await asyncio.gather(*(drive() for _ in range(CONCURRENCY)))
    return len(bodies) / (time.perf_counter() - started)


async def _open(
    port: int, items: Sequence[Item], rate_per_s: float, duration_s: float, answers: _Answers
) -> None:
    """Poisson arrivals, whether answers come or not."""
    rng, serials = random.Random(0), itertools.count()
    idle: list[Connection] = []

    async def one(tenant: str, body: bytes) -> None:
        connection = idle.pop() if idle else await Connection.open(port)
        sent = time.perf_counter()
        try:
            status, reply = await connection.post(SCORE, body, _key(tenant))
        except (ConnectionError, asyncio.IncompleteReadError):
            status, reply = HUNG_UP, b""
        answers.add(tenant, len(body), status, time.perf_counter() - sent, reply)
        if status in (HUNG_UP, 503):
            connection.close()
        else:
            idle.append(connection)

    due = started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        while due < started + duration_s:
            due += rng.expovariate(rate_per_s)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tenant = "greedy" if rng.random() < GREEDY_SHARE else rng.choice(TENANTS[1:])
            item, serial = rng.choice(items), next(serials)
            # no two are equal: what is equal and in flight is computed once, and would be counted twice
            group.create_task(one(tenant, _body(item.prompt, f"{item.response} {serial}", DEADLINE_S)))
    for connection in idle:
        connection.close()


async def _recovery_s(port: int, body: bytes, quick_s: float) -> float:
    """Seconds until a lone request is answered within `quick_s`."""
    started = time.perf_counter()
    connection = await Connection.open(port)
    while True:
        sent = time.perf_counter()
        status, _ = await connection.post(SCORE, body, _key("a"))
        if status == 200 and time.perf_counter() - sent <= quick_s:
            connection.close()
            return sent - started


def _wait_ms(status: int, reply: bytes) -> int:
    if status not in (200, 429):
        raise RuntimeError(f"the capacity cannot be measured: {status} {reply.decode()}")
    return int(json.loads(reply)["error"]["retry_after_ms"]) if status == 429 else 0


def _body(prompt: str, response: str, deadline_s: float) -> bytes:
    return score_body([Item(prompt, response)], int(1000 * deadline_s))


def _key(tenant: str) -> str:
    return f"authorization: Bearer {tenant}\r\n"
