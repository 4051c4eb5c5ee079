"""A stopped service ends, though a thread of it never does."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE

import httpx
import pytest

BODY = {"items": [{"prompt": "p", "response": "r"}]}


@pytest.mark.parametrize("what", ["load", "forward"])
async def test_what_hangs_does_not_keep_the_process(what: str) -> None:
    command = (sys.executable, "-m", "tests.app.hanging_service", what)
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=None) as rest:
            line = (await process.stdout.readline()).decode()
            if what == "forward":
                url = dict(word.split("=", 1) for word in line.split()[2:])["rest"]
                asked = asyncio.create_task(rest.post(f"{url}/v1/score", json=BODY))
                line = (await process.stdout.readline()).decode()
            assert line == "hanging\n"
            process.send_signal(signal.SIGTERM)
            if what == "forward":
                assert (await asked).status_code == 503
        told, logged = await asyncio.wait_for(process.communicate(), 120)
        assert process.returncode == 0
        assert told == b"flushed\n"
        assert "left with threads still at work" in logged.decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
