"""Clients and clocks go wrong: the others are served all the same."""

import asyncio
import threading
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from itertools import cycle
from unittest.mock import patch

import grpc

from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_protos.v1.guerdon_pb2_grpc import RewardServiceStub
from guerdon_service.core.encoded import Encoded
from guerdon_service.rpc.http2 import frames as f
from tests.faults.fault import Fault
from tests.faults.load import Tally
from tests.faults.scene import Scene, scene
from tests.rpc.http2.peer import STREAM, block, message

CANCELS_PER_ANSWER = 10
CALLS_PER_CONNECTION = 1000
"""Fewer than `Limits.max_streams`: what is beyond it waits at the caller, and would never be admitted."""
NUM_SOCKETS = 100
HTTP_BEGUN = b"GET /health/live HTTP/1.1\r\nx-slow: "
GRPC_BEGUN = b"".join(
    (
        f.PREFACE,
        f.settings({}),
        f.frame(f.HEADERS, f.END_HEADERS, 1, block(path=STREAM)),
        f.frame(f.DATA, 0, 1, message(bytes(1_000_000))[:5]),
    )
)
GRPC_BYTE = f.frame(f.DATA, 0, 1, b"a")


async def cancels(phase: int) -> Tally:
    async with scene() as it:
        await cancel_many(it, CANCELS_PER_ANSWER * phase)
        await it.load.more(phase)
        return it.load.tally


async def cancel_many(it: Scene, num_calls: int) -> None:
    """A client sends that many calls and cancels all of them at once while they wait."""
    gate = threading.Event()

    def wait(batch: Sequence[Encoded]) -> None:
        assert gate.wait(60)

    it.mischief.before = wait
    admitted, asked = it.observer.num_admitted, it.load.tally.num_asked
    async with AsyncExitStack() as stack:
        starts = range(0, num_calls, CALLS_PER_CONNECTION)
        stubs = [RewardServiceStub(await stack.enter_async_context(_connection(it))) for _ in starts]
        calls = [
            stubs[number // CALLS_PER_CONNECTION].Score(_request(f"{asked}, {number}"))
            for number in range(num_calls)
        ]
        tasks = [asyncio.ensure_future(call) for call in calls]
        await it.observer.until(lambda: it.observer.num_admitted > admitted + num_calls // 2)
        for call in calls:
            call.cancel()
        gate.set()
        it.mischief.stop()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    it.load.tally.num_asked += num_calls
    it.load.tally.outcomes["cancelled"] += len(ended)
    await _until_idle(it)


async def half_open(phase: int) -> Tally:
    async with scene() as it, AsyncExitStack() as stack:
        for _ in range(NUM_SOCKETS):
            _, writer = await asyncio.open_connection("127.0.0.1", it.served.port)
            stack.callback(writer.close)
            writer.write(b"POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{")
        await it.load.more(2 * phase)
        return it.load.tally


async def slow_loris(phase: int) -> Tally:
    async with scene() as it:
        ways = ((it.served.port, HTTP_BEGUN, b"a"), (it.served.grpc_port, GRPC_BEGUN, GRPC_BYTE))
        drips = [asyncio.create_task(_drip(*way)) for way in ways for _ in range(NUM_SOCKETS // 2)]
        await it.load.more(2 * phase)
        for drip in drips:
            drip.cancel()
        await asyncio.gather(*drips, return_exceptions=True)
        return it.load.tally


async def clock_jumps(phase: int) -> Tally:
    real, offsets = time.time, cycle((86_400.0, -86_400.0, 0.0, 1e9, -1e9))
    async with scene() as it:
        with patch.object(time, "time", lambda: real() + next(offsets)):
            await it.load.more(2 * phase)
        return it.load.tally


FAULTS = (
    Fault(
        "many cancel at once",
        f"gRPC calls, ten for each answer of a phase, over connections of {CALLS_PER_CONNECTION:,}",
        cancels,
        frozenset({"cancelled"}),
    ),
    Fault("half-open connections", f"{NUM_SOCKETS} that stop in the middle of a body", half_open),
    Fault(
        "slow loris",
        f"{NUM_SOCKETS} that send a byte of a header, or of a gRPC message, now and then",
        slow_loris,
    ),
    Fault("clock jumps", "the wall clock by a day and by 30 years, both ways", clock_jumps),
)


def _request(text: str) -> pb.ScoreRequest:
    """Of a text that nobody asked before, so that it has to wait for its forward."""
    return pb.ScoreRequest(items=[pb.ScoreItem(prompt="why?", response=f"cancelled {text}")])


def _connection(it: Scene) -> grpc.aio.Channel:
    """One of its own: channels share connections otherwise."""
    options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
    return grpc.aio.insecure_channel(f"127.0.0.1:{it.served.grpc_port}", options=options)


async def _drip(port: int, begun: bytes, byte: bytes) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(begun)
        while True:
            writer.write(byte)
            await writer.drain()
            await asyncio.sleep(0.05)
    finally:
        writer.close()


async def _until_idle(it: Scene) -> None:
    """Return once nothing that was cancelled is counted as waiting any more."""
    engines = [slot.scorer.engine for slot in it.catalog.slots("m") if slot.scorer is not None]
    async with asyncio.timeout(60):
        while any(engine._queue.num_items > 16 for engine in engines):
            await it.load.more(1)
