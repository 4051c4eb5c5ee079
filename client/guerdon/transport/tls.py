"""Certificates: whom a client believes over TLS, and what it presents."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from guerdon.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files for ``https://`` and ``grpcs://``.

    ca: authorities to believe, in place of the public ones.
    certificate, key: what the client presents where the service asks for it (mutual TLS); both or neither.
        The key has no passphrase.

    Raises:
        InvalidInput: one of certificate and key without the other.
    """

    ca: str | Path | None = None
    certificate: str | Path | None = None
    key: str | Path | None = None

    def __post_init__(self) -> None:
        """Refuse a half."""
        if (self.certificate is None) != (self.key is None):
            raise InvalidInput("tls has one of certificate and key; give both, or neither", param="tls")

    def loaded(self, context: ssl.SSLContext) -> ssl.SSLContext:
        """The context, which now uses these files.

        Raises:
            InvalidInput: a file cannot be used.
        """
        try:
            if self.ca is not None:
                context.load_verify_locations(self.ca)
        except OSError as err:  # ssl's errors are among them
            raise _unusable("ca", self.ca, err) from None
        try:
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key, password="")  # "": ask no terminal for it
        except OSError as err:
            raise _unusable("certificate", self.certificate, err) from None
        return context

    def pems(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Authorities, key and certificate, as gRPC takes them, which tells little of what it cannot use.

        Raises:
            InvalidInput: a file cannot be used.
        """
        self.loaded(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        ca, key, certificate = (
            None if path is None else Path(path).read_bytes()
            for path in (self.ca, self.key, self.certificate)
        )
        return ca, key, certificate


def _unusable(name: str, path: str | Path | None, err: OSError) -> InvalidInput:
    return InvalidInput(
        f"tls.{name} {path} cannot be used ({err}); give PEM files that belong together", param=f"tls.{name}"
    )
