"""REST over one pool of kept-alive connections."""

import json
import ssl
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from guerdon.errors import ConnectionFailed, GuerdonError, InvalidInput, InvalidReply, error_class
from guerdon.transport.base import NAMED_PARTS, Payload, Verb
from guerdon.transport.routes import ROUTES, TEXTS
from guerdon.transport.sse import events
from guerdon.transport.tls import Tls

CONNECT_TIMEOUT_S = 5.0
LOOPBACK = ("localhost", "127.0.0.1", "::1")
CODE_OF_STATUS = {
    401: "unauthenticated",
    403: "permission_denied",
    409: "gate_refused",
    413: "payload_too_large",
    415: "unsupported_media_type",
    422: "invalid_input",
    429: "overloaded",
    502: "connection_failed",
    503: "not_ready",
    504: "deadline_exceeded",
}
"""What a status means when the body is not Guerdon's, e.g. when a proxy answered."""


class RestTransport:
    """`Transport` over HTTP/1.1.

    Args:
        url: ``http://host:port`` or ``https://...``; a path in it prefixes every route.
        api_key: sent as a bearer token.
        tls: files for ``https://``; None: the public authorities, or those of ``SSL_CERT_FILE``.
    """

    def __init__(self, url: str, api_key: str | None, tls: Tls | None) -> None:
        try:
            self._url = httpx.URL(url)
            is_local = self._url.host in LOOPBACK
        except (httpx.InvalidURL, ValueError) as err:  # the latter of a host that no name can be
            raise InvalidInput(
                f"url {url!r} cannot be used: {err}; give http://host:port", param="url"
            ) from None
        self._client = httpx.AsyncClient(
            base_url=self._url,
            headers={} if api_key is None else {"authorization": f"Bearer {api_key}"},
            timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_S),
            verify=_context(tls, is_tls=self._url.scheme == "https"),
            # A proxy from the environment is for other hosts; it could not reach this machine's loopback.
            trust_env=not is_local,
        )

    async def call(self, verb: Verb, payload: Payload, timeout_s: float) -> Payload:
        """See `Transport.call`; the deadline travels in the payload."""
        with self._failures():
            response = await self._client.send(self._request(verb, payload))
        if response.is_success:
            return {TEXTS[verb]: response.text} if verb in TEXTS else _parsed(response)
        raise error_of(response.status_code, response.headers, response.content)

    async def stream(self, verb: Verb, payload: Payload, timeout_s: float | None) -> AsyncGenerator[Payload]:
        """See `Transport.stream`."""
        body = payload | {"stream": True} if verb in NAMED_PARTS else payload
        with self._failures():
            response = await self._client.send(self._request(verb, body), stream=True)
            try:
                if not response.is_success:
                    raise error_of(response.status_code, response.headers, await response.aread())
                async for name, data in events(response.aiter_bytes()):
                    if name == "error":
                        raise error_of(response.status_code, {}, json.dumps(data).encode())
                    yield {name: data} if verb in NAMED_PARTS else data
            finally:
                await response.aclose()

    async def close(self) -> None:
        """Close the pool."""
        await self._client.aclose()

    def _request(self, verb: Verb, payload: Payload) -> httpx.Request:
        route = ROUTES[verb]
        path, body = route.split(payload)
        if route.method != "POST":
            return self._client.build_request(route.method, path)
        content = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        headers = {"content-type": "application/json"}
        return self._client.build_request("POST", path, content=content, headers=headers)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """What httpx raises, as the client's errors."""
        try:
            yield
        except httpx.UnsupportedProtocol as err:
            raise InvalidInput(f"url {self._url} cannot be used: {err}", param="url") from None
        except (httpx.RequestError, ssl.SSLError) as err:  # a refused certificate may come as ssl tells it
            reason = str(err) or type(err).__name__
            raise ConnectionFailed(f"cannot reach {self._url} ({reason}); is the service running?") from err


def _context(tls: Tls | None, *, is_tls: bool) -> ssl.SSLContext:
    """Made here, because httpx takes ``SSL_CERT_FILE`` only from an environment whose proxies it trusts."""
    if tls is None or tls.ca is None:
        try:
            context = httpx.create_ssl_context(trust_env=is_tls)
        except OSError as err:
            raise InvalidInput(f"SSL_CERT_FILE cannot be read: {err}", param="url") from None
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return context if tls is None else tls.loaded(context)


def error_of(status: int, headers: Mapping[str, str], body: bytes) -> GuerdonError:
    """The error that a reply tells; a body that is not Guerdon's is judged by its status."""
    try:
        error = json.loads(body)["error"]
        code, message, param = str(error["code"]), str(error["message"]), error.get("param")
        told_ms = error.get("retry_after_ms")
        after_s = None if told_ms is None else int(told_ms) / 1000
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        code, param, after_s = CODE_OF_STATUS.get(status, "invalid_reply"), None, None
        message = (
            f"HTTP {status} without a Guerdon error in its body; is a proxy in between, or the URL wrong?"
        )
    if after_s is None:
        after_s = parse_retry_after(headers)
    return error_class(code, CODE_OF_STATUS.get(status))(message, param=param, retry_after_s=after_s)


def parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that `Retry-After` asks for (RFC 9110, 10.2.3); a date counts from the reply's own `Date`.

    None when it is absent, malformed, or a date in a reply without one.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        asked = parsedate_to_datetime(value) - parsedate_to_datetime(headers.get("date", ""))
    except (TypeError, ValueError, OverflowError):
        return None
    return max(0.0, asked.total_seconds())


def _parsed(response: httpx.Response) -> dict[str, Any]:
    if response.status_code == httpx.codes.NO_CONTENT:
        return {}
    try:
        parsed = response.json()
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise InvalidReply(f"{response.url} did not answer with a JSON object; is this Guerdon's URL?")
    return parsed
