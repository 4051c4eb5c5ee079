"""TLS, a private authority and mutual TLS, from the client and the command line, against real servers."""

import asyncio
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from guerdon import AsyncClient, Client, ConnectionFailed, InvalidInput, Tls
from guerdon.cli.main import main
from guerdon_service.app.listen import Listening
from tests.security.doors import opened
from tests.tls import Party, caller, server

__all__ = ["caller", "server"]

WIRES = ["rest", "grpc"]


def url_of(at: Listening, wire: str) -> str:
    return f"https://localhost:{at.port}" if wire == "rest" else f"grpcs://localhost:{at.grpc_port}"


async def num_scores(url: str, tls: Tls | None) -> int:
    async with AsyncClient(url, tls=tls, max_retries=0) as client:
        return len((await client.score([("p", "r")])).scores)


@pytest.mark.parametrize("wire", WIRES)
async def test_a_private_authority_is_believed_where_it_is_given(
    wire: str, server: Party, caller: Party
) -> None:
    async with opened(host="localhost", tls_certificate=server.certificate, tls_key=server.key) as at:
        url = url_of(at, wire)
        assert await num_scores(url, Tls(ca=server.ca)) == 1
        for stranger in (None, Tls(ca=caller.ca)):
            with pytest.raises(ConnectionFailed):
                await num_scores(url, stranger)


async def test_a_lost_file_of_authorities_matters_to_tls_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "no-such-file")
    async with opened() as at:
        assert await num_scores(f"http://localhost:{at.port}", None) == 1
        with pytest.raises(InvalidInput, match="SSL_CERT_FILE cannot be read"):
            await num_scores(f"https://localhost:{at.port}", None)


@pytest.mark.parametrize("wire", WIRES)
async def test_mutual_tls(wire: str, server: Party, caller: Party) -> None:
    async with opened(
        host="localhost", tls_certificate=server.certificate, tls_key=server.key, tls_client_ca=caller.ca
    ) as at:
        url = url_of(at, wire)
        assert await num_scores(url, Tls(server.ca, str(caller.certificate), str(caller.key))) == 1
        for stranger in (Tls(server.ca), Tls(server.ca, server.certificate, server.key)):
            with pytest.raises(ConnectionFailed):
                await num_scores(url, stranger)


async def test_the_sync_client_has_it_too(server: Party) -> None:
    def ask(url: str) -> int:
        with Client(url, tls=Tls(server.ca)) as client:
            return len(client.models())

    async with opened(host="localhost", tls_certificate=server.certificate, tls_key=server.key) as at:
        assert [await asyncio.to_thread(ask, url_of(at, wire)) for wire in WIRES] == [1, 1]


async def test_the_authorities_of_the_environment_are_believed_on_loopback_too(
    server: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose proxies are not."""
    monkeypatch.setenv("SSL_CERT_FILE", str(server.ca))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    async with opened(host="localhost", tls_certificate=server.certificate, tls_key=server.key) as at:
        assert await num_scores(url_of(at, "rest"), None) == 1


@pytest.mark.parametrize("wire", WIRES)
async def test_commands_read_the_files_from_the_environment(
    wire: str,
    server: Party,
    caller: Party,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = {"CA": server.ca, "CERTIFICATE": caller.certificate, "KEY": caller.key}
    for name, path in files.items():
        monkeypatch.setenv(f"GUERDON_CLIENT_TLS_{name}", str(path))
    source = tmp_path / "in.jsonl"
    source.write_text('{"prompt": "p", "response": "r"}\n')
    async with opened(
        host="localhost", tls_certificate=server.certificate, tls_key=server.key, tls_client_ca=caller.ca
    ) as at:
        url = url_of(at, wire)
        for argv in (["score", str(source)], ["models", "list"]):
            assert await asyncio.to_thread(main, [*argv, "--url", url]) == 0
    async with opened() as plain:  # the machine's files are of no use here
        argv = ["models", "list", "--url", f"http://127.0.0.1:{plain.port}"]
        assert await asyncio.to_thread(main, argv) == 0
    monkeypatch.delenv("GUERDON_CLIENT_TLS_KEY")
    assert await asyncio.to_thread(main, ["models", "list", "--url", url]) == 2
    assert "one of certificate and key" in capsys.readouterr().err


@pytest.mark.parametrize("scheme", ["https", "grpcs"])
def test_files_that_cannot_be_used_are_refused_by_name(
    scheme: str, server: Party, caller: Party, tmp_path: Path
) -> None:
    locked, absent = tmp_path / "locked.pem", tmp_path / "absent.pem"
    key = load_pem_private_key(caller.key.read_bytes(), None)
    locked.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"a passphrase"))
    )
    for tls, param in (
        (Tls(ca=absent), "tls.ca"),
        (Tls(ca=caller.key), "tls.ca"),
        (Tls(certificate=absent, key=caller.key), "tls.certificate"),
        (Tls(certificate=caller.certificate, key=server.key), "tls.certificate"),
        (Tls(certificate=caller.certificate, key=locked), "tls.certificate"),
    ):
        with pytest.raises(InvalidInput, match="give PEM files that belong together") as refused:
            AsyncClient(f"{scheme}://localhost:1", tls=tls)
        assert refused.value.param == param
        assert "PRIVATE KEY" not in refused.value.message


@pytest.mark.parametrize("url", ["http://localhost:1", "grpc://localhost:1"])
def test_files_for_plain_text_are_refused(url: str, server: Party) -> None:
    with pytest.raises(InvalidInput, match="https:// or grpcs://") as refused:
        AsyncClient(url, tls=Tls(server.ca))
    assert refused.value.param == "tls"


@pytest.mark.parametrize("half", [{"certificate": "a.pem"}, {"key": "a.pem"}])
def test_half_a_certificate_is_refused(half: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="give both"):
        Tls(**half)


def test_it_is_tls_1_2_or_newer() -> None:
    context = Tls().loaded(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.check_hostname and context.verify_mode is ssl.CERT_REQUIRED
