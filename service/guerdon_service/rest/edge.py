"""The outermost layer of the REST app: request id, authentication, bodies, failures, measurement."""

import logging
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from guerdon_service.core.auth import NOBODY, Caller, Keyring
from guerdon_service.core.call import request_id, trace_id
from guerdon_service.core.errors import GuerdonError
from guerdon_service.core.scorer import TransportObserver
from guerdon_service.rest.bodies import Bodies, Counted
from guerdon_service.rest.dialects.mount import Mounted
from guerdon_service.rest.events import event
from guerdon_service.rest.failure import http_exception_response
from guerdon_service.rest.header import header
from guerdon_service.rest.table import OPEN_PATHS

_UNEXPECTED = GuerdonError("the service failed; its log has the details under this request's x-request-id")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Edge:
    """ASGI middleware around the whole app."""

    app: ASGIApp
    auth: Keyring
    observer: TransportObserver
    dialects: Mounted
    bodies: Bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; other scopes pass."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = perf_counter()
        reply = _Reply(send, request_id(header(scope, b"x-request-id")))
        scope["guerdon.request_id"] = reply.request_id
        trace = trace_id(header(scope, b"traceparent"), reply.request_id)
        body = Counted(receive, self.bodies)
        try:
            with self.observer.under_way("rest", trace):
                code = await self._answer(scope, body.receive, reply)
        finally:
            body.over()
        route: Any = scope.get("route")  # set by the router
        verb = "other" if route is None else route.name
        seconds = perf_counter() - started
        self.observer.request(verb, "rest", code, seconds, request_id=reply.request_id, trace_id=trace)

    async def _answer(self, scope: Scope, receive: Receive, reply: "_Reply") -> str:
        try:
            scope["guerdon.caller"] = self._caller(scope)
            await self.app(scope, receive, reply.send)
        except HTTPException as error:
            response = http_exception_response(Request(scope), error)
            await response(scope, receive, reply.send)
        except ClientDisconnect:
            return "cancelled"
        except GuerdonError as error:
            return await self._fail(error, scope, receive, reply)
        except Exception:
            _LOG.exception("request failed", extra={"request_id": reply.request_id})
            return await self._fail(_UNEXPECTED, scope, receive, reply)
        return "ok" if reply.status < 400 else str(reply.status)

    def _caller(self, scope: Scope) -> Caller:
        if scope["path"] in OPEN_PATHS or scope["path"] in self.dialects.open_paths:
            return NOBODY
        return self.auth.authenticate(header(scope, b"authorization"))

    async def _fail(self, error: GuerdonError, scope: Scope, receive: Receive, reply: "_Reply") -> str:
        response = self.dialects.error_response(scope, error)
        if reply.status:  # only event streams are sent in parts, so only they fail after they began
            await reply.send({"type": "http.response.body", "body": event("error", bytes(response.body))})
        else:
            await response(scope, receive, reply.send)
        return error.code


@dataclass(slots=True)
class _Reply:
    """Adds the request id to the response's headers and notes its status (0 until it begins)."""

    wire: Send
    request_id: str
    status: int = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], (b"x-request-id", self.request_id.encode())]
        await self.wire(message)
