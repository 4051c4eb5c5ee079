"""Server-sent events (WHATWG HTML, section 9.2): a reply in parts, each as soon as it is known."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from guerdon_service.rest.disconnect import while_connected

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # proxies pass each event on at once
]


def event(name: str, data: bytes) -> bytes:
    """One event; `data` is JSON, which has no line breaks."""
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


@dataclass(frozen=True, slots=True)
class EventStream:
    """An ASGI response. It begins with the first event, so that what fails before has its own status.

    What fails later ends the stream with an event ``error``, which `Edge` writes. A client that leaves
    ends the work.
    """

    request: Request
    events: AsyncGenerator[bytes, None]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send every event as it comes."""
        await while_connected(self.request, self._send(send))

    async def _send(self, send: Send) -> None:
        started = False
        async with aclosing(self.events) as events:
            async for data in events:
                if not started:
                    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
                    started = True
                await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
