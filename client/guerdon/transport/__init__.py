"""Wires: one Protocol, `Transport`, and REST, gRPC and mock implementations of it."""

from urllib.parse import urlsplit

from guerdon.errors import InvalidInput
from guerdon.transport.base import Payload, Transport, Verb
from guerdon.transport.mock import MockTransport, reward_handler

__all__ = ["MockTransport", "Payload", "Transport", "Verb", "open_transport", "reward_handler"]


def open_transport(url: str, api_key: str | None = None) -> Transport:
    """A transport by the URL's scheme: ``http``, ``https``, ``grpc`` or ``grpcs``.

    Connects at the first call. `httpx` and `grpc` are imported here, not with the package: each costs
    more than the rest of the client, and a process seldom needs both.

    Raises:
        InvalidInput: another scheme, or no host.
    """
    parts = urlsplit(url)
    if not parts.netloc or parts.scheme not in ("http", "https", "grpc", "grpcs"):
        raise InvalidInput(
            f"url {url!r} cannot be used; give http://host:port or grpc://host:port", param="url"
        )
    if parts.scheme in ("http", "https"):
        from guerdon.transport.rest import RestTransport

        return RestTransport(url, api_key)
    from guerdon.transport.rpc import RpcTransport

    return RpcTransport(url, api_key)
