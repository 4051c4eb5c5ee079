"""HTTP/1.1 whose every dimension is bounded before a route sees the request.

uvicorn's parser takes a head of any size, bodies in any number of chunks and any number of connections, and
waits for ever for the rest of a request.
"""

from asyncio import TimerHandle, Transport
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from guerdon_service.core.limits import Limits
from guerdon_service.rest.render import render_error

HEAD_TIMEOUT_S = 30.0
"""For a request's line and headers to arrive, and for the first byte of a new connection."""
BODY_TIMEOUT_S = 120.0
"""For its body."""
WRITE_TIMEOUT_S = 60.0
"""For a peer to read on when its answers wait: one that never reads is hung up on."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a connection is closed, as its last answer says."""

    status: HTTPStatus
    code: str
    message: str
    param: str | None = None
    retry_after_ms: int | None = None

    def render(self) -> bytes:
        """The whole HTTP response."""
        body = render_error(self.code, self.message, self.param, self.retry_after_ms)
        head = [
            f"HTTP/1.1 {self.status.value} {self.status.phrase}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            "connection: close",
        ]
        if self.retry_after_ms is not None:
            head.append(f"retry-after: {-(-self.retry_after_ms // 1000)}")
        return "\r\n".join([*head, "", ""]).encode() + body


MALFORMED = Refusal(HTTPStatus.BAD_REQUEST, "bad_request", "the request is not HTTP/1.1; send HTTP/1.1")
TOO_SLOW = Refusal(
    HTTPStatus.REQUEST_TIMEOUT,
    "request_timeout",
    "the request did not arrive in time; send it without pauses",
)


class BoundedHttp(HttpToolsProtocol):
    """One connection. What is over a bound is told so in the service's one error body, and hung up."""

    def __init__(
        self,
        *args: Any,
        limits: Limits,
        head_timeout_s: float = HEAD_TIMEOUT_S,
        body_timeout_s: float = BODY_TIMEOUT_S,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._timeouts_s = {True: head_timeout_s, False: body_timeout_s}
        self._timer: TimerHandle | None = None
        self._stalled: TimerHandle | None = None
        self._timed_head = False
        self._refusal = MALFORMED
        self._in_head, self._in_body = False, False
        self._began = self._head_bytes = self._num_chunks = 0

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Take it, or say that there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.max_connections:
            self._hang_up(_too_many(self._limits))
        else:
            self._wait_for(is_head=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._wait_no_more()
        self._stall_is_over()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse a piece, counting what an unfinished head takes."""
        was_idle, self._began = not (self._in_head or self._in_body), 0
        super().data_received(data)
        if self.transport.is_closing():
            self._wait_no_more()
        elif self._in_head:
            if self._began == 0 or (self._began == 1 and was_idle):  # all of the piece is of this head
                self._head_bytes += len(data)
            if self._head_bytes > self._limits.max_header_bytes:
                self._hang_up(_too_long(self._limits))
            else:
                self._wait_for(is_head=True)
        elif self._in_body:
            self._wait_for(is_head=False)
        else:
            self._wait_no_more()

    def pause_writing(self) -> None:
        """The peer does not read."""
        super().pause_writing()
        self._stalled = self.loop.call_later(WRITE_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        """It reads again."""
        self._stall_is_over()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Called for what the parser, or one of the callbacks below, does not take."""
        self._hang_up(self._refusal)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head = True
        self._began += 1
        self._head_bytes = self._num_chunks = 0

    def on_headers_complete(self) -> None:
        """Its head is here."""
        self._in_head, self._in_body = False, True
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self._limits.max_header_bytes:
            self._refuse(_too_long(self._limits))
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        """One more transfer chunk of its body."""
        self._num_chunks += 1
        if self._num_chunks > self._limits.max_body_chunks:
            self._refuse(_too_many_chunks(self._limits))

    def on_message_complete(self) -> None:
        """All of it is here."""
        self._in_body = False
        super().on_message_complete()

    def _refuse(self, refusal: Refusal) -> None:
        """Out of a callback the parser must be stopped; it then asks for `send_400_response`."""
        self._refusal = refusal
        raise ValueError(refusal.code)

    def _hang_up(self, refusal: Refusal) -> None:
        self._wait_no_more()
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(refusal.render())
        self.transport.close()

    def _wait_for(self, *, is_head: bool) -> None:
        """Give what is under way until its time, which counts from its beginning, not from its last byte."""
        if self._timer is not None and self._timed_head == is_head and not self._began:
            return
        self._wait_no_more()
        self._timed_head = is_head
        self._timer = self.loop.call_later(self._timeouts_s[is_head], self._hang_up, TOO_SLOW)

    def _stall_is_over(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _wait_no_more(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _too_long(limits: Limits) -> Refusal:
    return Refusal(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "headers_too_large",
        f"the request's line and headers are over {limits.max_header_bytes} bytes; send less",
        "headers",
    )


def _too_many_chunks(limits: Limits) -> Refusal:
    return Refusal(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "payload_too_large",
        f"body comes in more than {limits.max_body_chunks} chunks; send larger ones",
        "body",
    )


def _too_many(limits: Limits) -> Refusal:
    return Refusal(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "too_many_connections",
        f"{limits.max_connections} connections are open already; close some, or ask another replica",
        retry_after_ms=1000,
    )
