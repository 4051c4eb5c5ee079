"""Wires: one Protocol, `Transport`, and REST, gRPC and mock implementations of it."""

from urllib.parse import urlsplit

from guerdon.errors import InvalidInput
from guerdon.transport.base import Payload, Transport, Verb
from guerdon.transport.mock import MockTransport, reward_handler
from guerdon.transport.tls import Tls

__all__ = ["MockTransport", "Payload", "Tls", "Transport", "Verb", "open_transport", "reward_handler"]


def open_transport(url: str, api_key: str | None = None, tls: Tls | None = None) -> Transport:
    """A transport by the URL's scheme: ``http``, ``https``, ``grpc`` or ``grpcs``.

    Connects at the first call. `httpx` and `grpc` are imported here, not with the package: each costs
    more than the rest of the client, and a process seldom needs both.

    Raises:
        InvalidInput: another scheme, no host, a port that is none, a key that no header can carry, `tls` for
            plain text, or a file of `tls` that cannot be used.
    """
    scheme = _scheme(url)
    _check_key(api_key)
    if tls is not None and scheme in ("http", "grpc"):
        raise InvalidInput(f"tls is of no use to {url}; give an https:// or grpcs:// url", param="tls")
    if scheme in ("http", "https"):
        from guerdon.transport.rest import RestTransport

        return RestTransport(url, api_key, tls)
    from guerdon.transport.rpc import RpcTransport

    return RpcTransport(url, api_key, tls)


def _scheme(url: str) -> str:
    try:
        parts = urlsplit(url)
        if parts.hostname and parts.port != 0 and parts.scheme in ("http", "https", "grpc", "grpcs"):
            return parts.scheme
        reason = ""
    except ValueError as err:  # a port that is none, half of a bracket
        reason = f" ({err})"
    raise InvalidInput(
        f"url {url!r} cannot be used{reason}; give http://host:port or grpc://host:port", param="url"
    )


def _check_key(api_key: str | None) -> None:
    """Here, as the libraries' own errors repeat the key."""
    if api_key is None or (
        api_key and api_key.isascii() and api_key.isprintable() and api_key == api_key.strip()
    ):
        return
    raise InvalidInput(
        "api_key is empty, or has white space around it or what is not printable ASCII; give the key alone",
        param="api_key",
    )
