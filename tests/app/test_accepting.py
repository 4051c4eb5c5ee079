"""Connections are accepted together, by the loop that the service runs on."""

import asyncio
import socket
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvloop

from guerdon_service.app.accepting import MAX_A_TURN
from guerdon_service.app.doors import _listen, bind
from guerdon_service.core.limits import Limits

NUM_WAITING = 50


class Counted(asyncio.Protocol):
    """Counts connections in the turns of the loop."""

    def __init__(self, made: list[int]) -> None:
        self.made = made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        connection = transport.get_extra_info("socket")
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        self.made[-1] += 1


@asynccontextmanager
async def waiting(num: int) -> AsyncIterator[list[int]]:
    """`num` callers that connected before the loop looked; how many were let in, turn by turn, grows."""
    listener, made = bind("127.0.0.1", 0), [0]
    server = _listen(lambda: Counted(made), listener, None, Limits())
    callers = [socket.create_connection(listener.getsockname()) for _ in range(num)]
    try:
        yield made
    finally:
        server.close()
        await server.wait_closed()
        for caller in (*callers, listener):
            caller.close()


async def turns(num: int) -> list[int]:
    """How many of `num` were let in, in each of the turns that it took."""
    async with waiting(num) as made, asyncio.timeout(60):
        while sum(made) < num:
            made.append(0)
            await asyncio.sleep(0)
    return [in_turn for in_turn in made if in_turn]


def test_who_waits_is_let_in_at_once() -> None:
    """The loop's own server lets in one a turn: with others' work in each turn, the last wait for seconds."""
    assert uvloop.run(turns(NUM_WAITING)) == [NUM_WAITING]


def test_a_storm_leaves_turns_for_others() -> None:
    assert max(uvloop.run(turns(MAX_A_TURN + NUM_WAITING))) <= MAX_A_TURN


def test_who_comes_after_the_end_is_refused() -> None:
    """Else the kernel lets him in, and he waits for an answer that another replica would give."""

    async def late() -> None:
        listener = bind("127.0.0.1", 0)
        address = listener.getsockname()
        server = _listen(asyncio.Protocol, listener, None, Limits())
        server.close()
        server.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)

    uvloop.run(late())


SCARCE = f"""
import asyncio, logging, os, resource
import uvloop
from guerdon_service.app.doors import _listen, bind
from guerdon_service.core.limits import Limits

class Greeting(asyncio.Protocol):
    def connection_made(self, transport):
        transport.write(b"welcome")

async def main():
    listener = bind("127.0.0.1", 0)
    accepting = _listen(Greeting, listener, None, Limits())
    os.close(free := os.dup(0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + {NUM_WAITING}, free + {NUM_WAITING}))
    print(listener.getsockname()[1], flush=True)
    await asyncio.Event().wait()

logging.basicConfig()
uvloop.run(main())
"""


async def test_where_there_is_no_file_for_another_he_waits_and_it_is_told() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", SCARCE, stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None and process.stderr is not None
    try:
        async with asyncio.timeout(60):
            port = int(await process.stdout.readline())
            callers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2 * NUM_WAITING)]
            early, late = callers[:NUM_WAITING], callers[NUM_WAITING:]
            line = b"\n"
            while b"connections wait: there is no file" not in line:
                line = await process.stderr.readline()
                assert line, "it ended"
            for _, caller in early:
                caller.close()
            for reader, caller in late:
                assert await reader.readexactly(7) == b"welcome"
                caller.close()
    finally:
        process.kill()
        await process.wait()
