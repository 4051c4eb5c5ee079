"""What the client makes of its connections: kept, forgotten by a router, closed by another task."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from guerdon import AsyncClient
from guerdon.transport import rpc
from guerdon_service.core.artifact import ModelSpec
from tests.contract.harness import Gate, served
from tests.faults.proxy import Proxy


async def test_what_a_router_forgot_is_found_out_over_grpc() -> None:
    """Else every call would wait for its deadline, until TCP gives up after a quarter of an hour."""
    async with served() as at, AsyncClient(f"grpc://127.0.0.1:{at.grpc_port}") as client:
        await client.score([("p", "r")])
        assert list(user_timeouts_ms(at.grpc_port)) == [rpc.KEEPALIVE_TIMEOUT_MS]


def user_timeouts_ms(port: int) -> Iterator[int]:
    """Of this process's sockets that lead to the port."""
    for fd in Path("/proc/self/fd").iterdir():
        with suppress(OSError), socket.socket(fileno=os.dup(int(fd.name))) as found:
            if found.family in (socket.AF_INET, socket.AF_INET6) and found.getpeername()[1] == port:
                yield found.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)


@pytest.mark.parametrize("wire", ["http", "grpc"])
async def test_a_stream_keeps_its_connection(wire: str) -> None:
    async with (
        served() as at,
        Proxy([at.port if wire == "http" else at.grpc_port]).listening() as proxy,
        AsyncClient(f"{wire}://127.0.0.1:{proxy.port}") as client,
    ):
        for _ in range(3):
            await client.best_of_n("echo", "p", 2, on_candidate=lambda candidate: None)
        assert proxy.num_connections == 1


@pytest.mark.parametrize("wire", ["http", "grpc"])
async def test_a_call_whose_client_is_closed_meanwhile_says_so(wire: str) -> None:
    gate = Gate()
    async with served(ModelSpec("fake", "good"), load=gate.load) as at:
        client = AsyncClient(f"{wire}://127.0.0.1:{at.port if wire == 'http' else at.grpc_port}")
        call = asyncio.create_task(client.score([("p", "r")]))
        await gate.until_entered()
        await client.close()
        with pytest.raises(RuntimeError, match="closed"):
            await call
        with pytest.raises(RuntimeError, match="closed"):
            await client.score([("p", "r")])
        gate.opened.set()
