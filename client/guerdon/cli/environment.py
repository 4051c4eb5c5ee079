"""What the commands that ask a service read from the environment: its address, a key, files for TLS."""

import argparse
import os

from guerdon.transport import Tls

DEFAULT_URL = "http://127.0.0.1:8080"


def add_url(parser: argparse.ArgumentParser) -> None:
    """``--url``."""
    parser.add_argument(
        "--url",
        default=os.environ.get("GUERDON_URL", DEFAULT_URL),
        help="http://HOST:PORT or grpc://HOST:PORT (default: $GUERDON_URL or %(default)s); "
        "the API key is read from $GUERDON_API_KEY",
    )


def api_key() -> str | None:
    """The key, if there is one, without the line break that a file's last line has."""
    return os.environ.get("GUERDON_API_KEY", "").strip() or None


def tls_for(url: str) -> Tls | None:
    """Files for an address with TLS; the machine's say nothing of one in plain text.

    Raises:
        InvalidInput: half of a certificate and its key.
    """
    if not url.startswith(("https://", "grpcs://")):
        return None
    ca, certificate, key = (
        os.environ.get(f"GUERDON_CLIENT_TLS_{name}") or None for name in ("CA", "CERTIFICATE", "KEY")
    )
    return Tls(ca, certificate, key) if ca or certificate or key else None
