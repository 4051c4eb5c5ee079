"""Certificates, for both transports alike."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from guerdon_service.app.settings import Settings
from guerdon_service.core.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Tls:
    """What both servers present, and whom they believe.

    client_ca: authorities whose certificates callers must present (mutual TLS); None asks for none.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 or newer.

        Raises:
            InvalidInput: a file cannot be used.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise _unusable("tls_certificate", error) from None
        if self.client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            try:
                context.load_verify_locations(self.client_ca)
            except (OSError, ssl.SSLError) as error:
                raise _unusable("tls_client_ca", error) from None
        return context


def tls_of(settings: Settings) -> Tls | None:
    """What the settings say; None is plain text."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return Tls(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)


def _unusable(param: str, error: Exception) -> InvalidInput:
    return InvalidInput(f"{param} cannot be used ({error}); give PEM files that belong together", param=param)
