"""`guerdon serve` itself, with a real model, keys, and a policy by URL that answers when told to."""

import asyncio
import hashlib
import json
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx

from guerdon.cli.demo_preferences import held_out
from guerdon.cli.demo_versions import make_candidate, make_incumbent
from guerdon.cli.service_process import Addresses, running_service
from tests.policies.engine_stub import Exchange, engine

OPS_KEY, TEAM_KEY = "key-of-ops-0123456789", "key-of-team-0123456789"
KEYS = (("ops", OPS_KEY, "score,admin"), ("team", TEAM_KEY, "score"))
DATASET = "held-out.jsonl"
CARD = "MODEL_CARD.md"
READY_S = 280.0
REPLIES = (
    "Put it into boiling water for seven minutes, then into cold water.",
    "Eggs are food.",
    "<script>window.stolen = 1</script><img src=x onerror='window.stolen = 1'>",
    "Boil it. Stop when you like it.",
)


class House:
    """A policy that answers as `REPLIES` say, each once it is let go."""

    def __init__(self) -> None:
        self.let_go = asyncio.Semaphore(0)

    def answer(self, number: int) -> None:
        """Let so many answers go."""
        for _ in range(number):
            self.let_go.release()

    async def reply(self, exchange: Exchange) -> None:
        """What the policy's server does with a request."""
        await exchange.start()
        for index in range(exchange.body["n"]):
            await self.let_go.acquire()
            await exchange.delta(index, REPLIES[index % len(REPLIES)], "stop")
        await exchange.send("data: [DONE]\n\n")
        await exchange.end()


@dataclass(frozen=True)
class Served:
    """Where the service is, what its policy waits for, and a client with the operator's key."""

    url: str
    house: House
    rest: httpx.AsyncClient

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """What the API answers."""
        reply = await self.rest.request(method, path, json=body)
        assert reply.is_success, reply.text
        return reply.json()


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Served]:
    """A service with two versions of the default artifact under the name ``demo``."""
    (folder / "data").mkdir()
    write_records(folder / "data" / DATASET, held_out()[::5])
    make_incumbent(folder / "models" / "incumbent")
    make_candidate(folder / "models" / "candidate", None)
    card = files("guerdon_service").joinpath("models", "default", CARD)
    (folder / "models" / "candidate" / CARD).write_bytes(card.read_bytes())
    lines = [f"{name} {hashlib.sha256(key.encode()).hexdigest()} {scopes}\n" for name, key, scopes in KEYS]
    (folder / "keys").write_text("".join(lines), encoding="utf-8")
    house = House()
    async with engine(house.reply) as policy:
        command = [sys.executable, "-m", "guerdon", "serve", "--port", "0", "--grpc-port", "0"]
        command += ["--model", f"demo={folder / 'models' / 'incumbent'}", "--threads", "1"]
        command += ["--policy", f"house={policy.url}"]
        command += ["--data-folder", f"{folder / 'data'}", "--model-store", f"{folder / 'models'}"]
        command += ["--api-key-file", f"{folder / 'keys'}"]
        async with (
            in_thread(running_service(command, READY_S)) as at,
            httpx.AsyncClient(
                base_url=at.rest,
                headers={"authorization": f"Bearer {OPS_KEY}"},
                timeout=READY_S,
                trust_env=False,
            ) as rest,
        ):
            it = Served(at.rest, house, rest)
            await it.ask("POST", "/v1/models/demo/versions", {"source": "candidate"})
            yield it


@asynccontextmanager
async def in_thread(manager: AbstractContextManager[Addresses]) -> AsyncIterator[Addresses]:
    """The same, while the event loop goes on."""
    entered = await asyncio.to_thread(manager.__enter__)
    try:
        yield entered
    finally:
        await asyncio.to_thread(manager.__exit__, None, None, None)


def write_records(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """As JSON Lines."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
