"""A replica of three ends, in good order or not: clients that retry lose nothing."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from guerdon import AsyncClient
from guerdon.errors import GuerdonError
from tests.faults.fault import Fault
from tests.faults.load import RIGHT, WRONG, Load, Tally
from tests.faults.proxy import Proxy
from tests.registry.versions import reward_of

NUM_REPLICAS = 3


async def terminated(phase: int) -> Tally:
    async with _replicas() as processes, _retrying(processes) as load:
        await load.more(phase)
        for process in list(processes)[:-1]:  # as a rolling update does, but the last
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0, "a drained replica ends with 0"
            await load.more(phase)
        return load.tally


async def killed(phase: int) -> Tally:
    async with _replicas() as processes, _retrying(processes) as load:
        await load.more(phase)
        victim = next(iter(processes))
        victim.kill()
        await victim.wait()
        await load.more(phase)
        return load.tally


FAULTS = (
    Fault("SIGTERM", "of two of three replicas, one after the other, clients retry", terminated),
    Fault("SIGKILL", "of one of three replicas, clients retry", killed),
)


@asynccontextmanager
async def _replicas() -> AsyncIterator[dict[Process, int]]:
    """Processes and their ports."""
    command = (sys.executable, "-m", "tests.faults.replica")
    processes = [await asyncio.create_subprocess_exec(*command, stdout=PIPE) for _ in range(NUM_REPLICAS)]
    try:
        yield {process: await _port(process) for process in processes}
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _port(process: Process) -> int:
    assert process.stdout is not None
    return int(await process.stdout.readline())


@asynccontextmanager
async def _retrying(processes: dict[Process, int]) -> AsyncIterator[Load]:
    async with (
        Proxy(list(processes.values())).listening() as proxy,
        AsyncClient(f"http://127.0.0.1:{proxy.port}") as client,
        Load(lambda response: _ask(client, response)).running() as load,
    ):
        yield load


async def _ask(client: AsyncClient, response: str) -> str:
    try:
        result = await client.score([("why?", response)])
    except GuerdonError as error:
        return error.code
    return RIGHT if result.scores[0].reward == reward_of("1", response) else WRONG
