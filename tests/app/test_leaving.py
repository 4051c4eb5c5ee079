"""A stopped service ends, though a thread of it never does, and its last spans are exported."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import Iterator

import httpx
import pytest

from tests.app.otlp import Collector, collecting

BODY = {"items": [{"prompt": "p", "response": "r"}]}
TRACE = "0af7651916cd43dd8448eb211c80319c"
HEADERS = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as it:
        yield it


@pytest.mark.parametrize("what", ["load", "forward"])
async def test_what_hangs_does_not_keep_the_process(what: str, collector: Collector) -> None:
    command = (sys.executable, "-m", "tests.app.hanging_service", what)
    environ = os.environ | collector.environ
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env=environ)
    assert process.stdout is not None
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=None) as rest:
            line = (await process.stdout.readline()).decode()
            if what == "forward":
                url = dict(word.split("=", 1) for word in line.split()[2:])["rest"]
                asked = asyncio.create_task(rest.post(f"{url}/v1/score", json=BODY, headers=HEADERS))
                line = (await process.stdout.readline()).decode()
            assert line == "hanging\n"
            process.send_signal(signal.SIGTERM)
            if what == "forward":
                assert (await asked).status_code == 503
        told, logged = await asyncio.wait_for(process.communicate(), 120)
        assert process.returncode == 0
        assert told == b""
        assert "left with threads still at work" in logged.decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if what == "forward":
        assert collector.spans(TRACE) == {"at hand", "tokenize", "look up", "queue and forward"}
        assert collector.services() == {"guerdon"}
