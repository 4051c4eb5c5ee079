"""A client that leaves takes its work along, and nobody else's."""

import asyncio

import pytest

from tests.contract.harness import Gate, Served, Watching, served

HEAD = b"POST /v1/%s HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
BODIES = {
    b"score": b'{"items": [{"prompt": "of one who", "response": "leaves"}]}',
    b"compare": b'{"pairs": [{"prompt": "of one who", "a": "leaves", "b": "left"}]}',
    b"rank": b'{"prompt": "of one who", "candidates": ["leaves"]}',
}


@pytest.mark.parametrize("verb", BODIES)
async def test_leaving_while_queued_cancels_the_work(verb: bytes) -> None:
    gate, observer = Gate(), Watching()
    async with served(load=gate.load, observer=observer) as it:
        try:
            staying = asyncio.create_task(_score(it, "stays"))
            await gate.until_entered()
            _, writer = await asyncio.open_connection("127.0.0.1", it.port)
            writer.write(HEAD % (verb, len(BODIES[verb])) + BODIES[verb])
            await observer.until(lambda: observer.num_admitted == 2)
            writer.close()
            await observer.until(lambda: "cancelled" in observer.codes)
        finally:
            gate.opened.set()
        assert await staying == 200
        assert await _score(it, "comes later") == 200
        assert gate.backends[0].num_forwards == 2, "the cancelled request was scored all the same"


async def test_leaving_before_the_body_has_come() -> None:
    observer = Watching()
    async with served(observer=observer) as it:
        _, writer = await asyncio.open_connection("127.0.0.1", it.port)
        writer.write(HEAD % (b"score", 1000) + b'{"items"')
        await writer.drain()
        writer.close()
        await observer.until(lambda: observer.codes == ["cancelled"])
        assert await _score(it, "comes later") == 200


async def _score(it: Served, prompt: str) -> int:
    body = {"items": [{"prompt": prompt, "response": "r"}]}
    return (await it.rest.post("/v1/score", json=body)).status_code
