"""A service with keys and with TLS is reached as the commands reach it: by what the environment says."""

import asyncio

import pytest
import torch

import guerdon
from guerdon_service.core.conversation import Conversation
from guerdon_training.ppo.config import ScoreSource
from guerdon_training.ppo.rewards import open_reward
from tests.contract.harness import SCORER_KEY
from tests.security.doors import opened
from tests.tls import Party, caller, server

__all__ = ["caller", "server"]

TLS = "GUERDON_CLIENT_TLS_"


async def score_of(url: str) -> float | None:
    def ask() -> float | None:
        with open_reward(ScoreSource(url=url), torch.device("cpu")) as reward:
            return reward.score([Conversation.of("p", "r")])[0]

    return await asyncio.to_thread(ask)


async def test_tls_and_mutual_tls(server: Party, caller: Party, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(
        host="localhost", tls_certificate=server.certificate, tls_key=server.key, tls_client_ca=caller.ca
    ) as at:
        for name, path in (("CA", server.ca), ("CERTIFICATE", caller.certificate), ("KEY", caller.key)):
            monkeypatch.setenv(TLS + name, str(path))
        for url in (f"https://localhost:{at.port}", f"grpcs://localhost:{at.grpc_port}"):
            assert await score_of(url) is not None
        monkeypatch.delenv(f"{TLS}KEY")
        with pytest.raises(guerdon.InvalidInput, match="one of certificate and key"):
            await score_of(url)


async def test_files_for_tls_say_nothing_of_plain_text(
    server: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{TLS}CA", str(server.ca))
    async with opened() as at:
        assert await score_of(f"http://127.0.0.1:{at.port}") is not None


async def test_a_key_may_end_in_a_line_break_and_an_empty_one_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with opened(locked=True) as at:
        monkeypatch.setenv("GUERDON_API_KEY", f"{SCORER_KEY}\n")  # as `docker --env-file` leaves it
        assert await score_of(f"grpc://127.0.0.1:{at.grpc_port}") is not None
        monkeypatch.setenv("GUERDON_API_KEY", "\n")
        with pytest.raises(guerdon.Unauthenticated):
            await score_of(f"http://127.0.0.1:{at.port}")
