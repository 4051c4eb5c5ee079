"""Two parties of TLS who know nothing of each other: a server of this machine, and who calls it."""

from pathlib import Path

import pytest
import trustme


class Party:
    """An authority and one certificate of its, as files."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir()
        ca = trustme.CA()
        cert = ca.issue_cert(name)
        self.ca, self.certificate, self.key = folder / "ca.pem", folder / "cert.pem", folder / "key.pem"
        ca.cert_pem.write_to_path(str(self.ca))
        self.key.write_bytes(cert.private_key_pem.bytes())
        self.certificate.write_bytes(b"".join(blob.bytes() for blob in cert.cert_chain_pems))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Party:
    return Party(tmp_path_factory.mktemp("tls") / "server", "localhost")


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Party:
    return Party(tmp_path_factory.mktemp("tls") / "caller", "caller@example.org")
