"""TLS and mutual TLS, on both transports: who has no right certificate gets no answer."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import httpx
import pytest

from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_protos.v1.guerdon_pb2_grpc import RewardServiceStub
from guerdon_service.app import doors
from guerdon_service.app.listen import Listening
from guerdon_service.app.load_settings import load_settings
from guerdon_service.app.settings import Settings
from guerdon_service.app.tls import Tls
from guerdon_service.core.errors import InvalidInput
from tests.security.doors import BODY, opened
from tests.tls import Party, caller, server

__all__ = ["caller", "server"]

REQUEST = pb.ScoreRequest(items=[pb.ScoreItem(prompt="p", response="r")])


async def over_rest(at: Listening, trust: Party | None, own: Party | None = None) -> int:
    context = ssl.create_default_context(cafile=None if trust is None else str(trust.ca))
    if own is not None:
        context.load_cert_chain(own.certificate, own.key)
    async with httpx.AsyncClient(verify=context, trust_env=False) as rest:
        return (await rest.post(f"https://localhost:{at.port}/v1/score", json=BODY)).status_code


async def over_rpc(at: Listening, trust: Party, own: Party | None = None) -> int:
    pair = (None, None) if own is None else (own.key.read_bytes(), own.certificate.read_bytes())
    credentials = grpc.ssl_channel_credentials(trust.ca.read_bytes(), *pair)
    async with grpc.aio.secure_channel(
        f"localhost:{at.grpc_port}", credentials, options=[("grpc.enable_http_proxy", 0)]
    ) as channel:
        stub: Any = RewardServiceStub(channel)
        return len((await stub.Score(REQUEST, timeout=30)).scores)


async def test_tls_on_both_transports(server: Party, caller: Party) -> None:
    async with opened(host="localhost", tls_certificate=server.certificate, tls_key=server.key) as at:
        assert str(at).startswith("rest=https://localhost:")
        assert await over_rest(at, server) == 200
        assert await over_rpc(at, server) == 1
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            await over_rest(at, caller)
        with pytest.raises(grpc.aio.AioRpcError):
            await over_rpc(at, caller)
        async with httpx.AsyncClient(trust_env=False) as plain:
            with pytest.raises(httpx.RequestError):
                await plain.post(f"http://localhost:{at.port}/v1/score", json=BODY)


async def test_a_handshake_that_never_ends_is_hung_up_on(
    server: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would be no connection of those that are counted, for a minute."""
    monkeypatch.setattr(doors, "TLS_HANDSHAKE_S", 0.05)
    async with opened(host="localhost", tls_certificate=server.certificate, tls_key=server.key) as at:
        for port in (at.port, at.grpc_port):
            for begun in (b"", b"\x16\x03\x01\x02\x00"):
                reader, writer = await asyncio.open_connection("localhost", port)
                writer.write(begun)
                async with asyncio.timeout(30):
                    assert await reader.read() == b""
                writer.close()


@pytest.mark.parametrize("over", ["rest", "rpc"])
async def test_no_more_handshakes_at_once_than_connections_may_be_open(
    server: Party, monkeypatch: pytest.MonkeyPatch, over: str
) -> None:
    """Who comes while others say nothing waits until they are hung up on, and is then served."""
    monkeypatch.setattr(doors, "TLS_HANDSHAKE_S", 1.0)
    order: list[str] = []
    async with opened(
        host="localhost",
        limits={"max_connections": 2},
        tls_certificate=server.certificate,
        tls_key=server.key,
    ) as at:
        port, ask = (at.port, over_rest) if over == "rest" else (at.grpc_port, over_rpc)

        async def say_nothing(reader: asyncio.StreamReader) -> None:
            await reader.read()
            order.append("hung up")

        async def be_served() -> None:
            await ask(at, server)
            order.append("served")

        silent = [await asyncio.open_connection("localhost", port) for _ in range(2)]
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for reader, _ in silent:
                group.create_task(say_nothing(reader))
            group.create_task(be_served())
        for _, writer in silent:
            writer.close()
    assert order[0] == "hung up"
    assert "served" in order


async def test_mutual_tls_on_both_transports(server: Party, caller: Party) -> None:
    async with opened(
        host="localhost",
        tls_certificate=server.certificate,
        tls_key=server.key,
        tls_client_ca=caller.ca,
    ) as at:
        assert await over_rest(at, server, caller) == 200
        assert await over_rpc(at, server, caller) == 1
        for stranger in (None, server):  # nothing, and a certificate of another authority
            with pytest.raises((httpx.RequestError, ssl.SSLError)):
                await over_rest(at, server, stranger)
            with pytest.raises(grpc.aio.AioRpcError) as err:
                await over_rpc(at, server, stranger)
            assert err.value.code() == grpc.StatusCode.UNAVAILABLE


def test_tls_is_1_2_or_newer(server: Party) -> None:
    context = Tls(server.certificate, server.key).context()
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_files_that_cannot_be_used_are_refused_by_name(server: Party, caller: Party, tmp_path: Path) -> None:
    for tls, param in (
        (Tls(server.certificate, caller.key), "tls_certificate"),
        (Tls(tmp_path / "absent", server.key), "tls_certificate"),
        (Tls(server.certificate, server.key, tmp_path / "absent"), "tls_client_ca"),
    ):
        with pytest.raises(InvalidInput, match=param) as refused:
            tls.context()
        assert "PRIVATE KEY" not in refused.value.message


@pytest.mark.parametrize("given", [{"tls_certificate": "a"}, {"tls_key": "a"}, {"tls_client_ca": "a"}])
def test_half_of_tls_is_no_tls(given: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="tls_certificate"):
        load_settings(given, {}, None)


def test_plain_text_is_the_default_only_on_loopback() -> None:
    assert (Settings().host, Settings().tls_certificate) == ("127.0.0.1", None)
