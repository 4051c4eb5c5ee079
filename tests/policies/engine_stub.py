"""An HTTP server on a free port that speaks as much of HTTP as an engine's ``/v1/chat/completions`` needs."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

Reply = Callable[["Exchange"], Awaitable[None]]


@dataclass
class Exchange:
    """One request, and how to answer it; returning closes the connection."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    writer: asyncio.StreamWriter

    async def start(self, status: int = 200, content_type: str = "text/event-stream", more: str = "") -> None:
        head = f"HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ntransfer-encoding: chunked\r\n{more}"
        self.writer.write(f"{head}connection: close\r\n\r\n".encode())
        await self.writer.drain()

    async def send(self, text: str) -> None:
        data = text.encode()
        self.writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        await self.writer.drain()

    async def end(self) -> None:
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    async def delta(self, index: int, text: str | None, finish: str | None = None) -> None:
        choice = {"index": index, "delta": {"content": text}, "finish_reason": finish}
        await self.send(f"data: {json.dumps({'choices': [choice]})}\n\n")

    async def json(self, value: Any, status: int = 200, more: str = "") -> None:
        await self.start(status, "application/json", more)
        await self.send(json.dumps(value))
        await self.end()


@dataclass
class Engine:
    """Answers every request with `reply`."""

    reply: Reply
    url: str = ""
    seen: list[Exchange] = field(default_factory=list)
    serving: set[asyncio.Task[None]] = field(default_factory=set)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a client closed its connection before the reply ended."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:]) if k}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        exchange = Exchange(lines[0].split(" ")[1], headers, body, writer)
        self.seen.append(exchange)
        answering = asyncio.ensure_future(self.reply(exchange))
        leaving = asyncio.ensure_future(reader.read())
        await asyncio.wait([answering, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            self.left.set()
        answering.cancel()
        leaving.cancel()
        await asyncio.gather(answering, leaving, return_exceptions=True)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def engine(reply: Reply) -> AsyncIterator[Engine]:
    """Listens within."""
    running = Engine(reply)
    server = await asyncio.start_server(running.serve, "127.0.0.1", 0)
    running.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    async with server:
        yield running
        await asyncio.gather(*running.serving)
