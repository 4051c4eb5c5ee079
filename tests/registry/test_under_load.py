"""Promote and rollback under 64 clients: no request fails, and each reply is all of one version."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.registry import CHAMPION
from guerdon_service.state.database import Database
from tests.contract.harness import served
from tests.registry.replica import replica, with_registry
from tests.registry.test_registry import forced
from tests.registry.versions import load_versions, reward_of

NUM_CLIENTS = 64
NUM_FLIPS = 3

Ask = Callable[[str], Awaitable[str]]
"""The version that answers a response, its score checked."""


class Answers:
    """How many answers each version gave."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._changed = asyncio.Event()

    def add(self, version: str) -> None:
        self.counts[version] += 1
        self._changed.set()

    async def more(self, version: str, count: int) -> None:
        """Return once `version` has given so many answers more."""
        enough = self.counts[version] + count
        async with asyncio.timeout(60):
            while self.counts[version] < enough:
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def clients(ask: Ask) -> AsyncIterator[Answers]:
    """Clients that ask without pause; afterwards every one must have had nothing but answers."""
    answers, is_over = Answers(), asyncio.Event()

    async def client(number: int) -> None:
        count = 0
        while not is_over.is_set():
            answers.add(await ask(f"{number} says {count}"))
            count += 1

    async with asyncio.TaskGroup() as group:
        for number in range(NUM_CLIENTS):
            group.create_task(client(number))
        try:
            yield answers
        finally:
            is_over.set()


async def test_in_process(database: Database) -> None:
    async with replica(database) as one:
        await one.registry.register("m", "2", "ops")

        async def ask(response: str) -> str:
            return await one.ask(None, response)

        async with clients(ask) as answers:
            for _ in range(NUM_FLIPS):
                await forced(one, "2")
                assert await one.ask() == "2"
                await answers.more("2", NUM_CLIENTS)
                await one.registry.rollback("m", CHAMPION, "ops", "worse")
                assert await one.ask() == "1", "the next call after a rollback has the old scores"
                await answers.more("1", NUM_CLIENTS)


async def test_over_rest(database: Database) -> None:
    async with (
        served(ModelSpec("m", "1"), load=load_versions) as running,
        with_registry(running.service, database) as one,
    ):
        for version in ("1", "2"):
            await one.registry.register("m", version, "ops")

        async def ask(response: str) -> str:
            body = {"items": [{"prompt": "why?", "response": response}]}
            reply = await running.rest.post("/v1/score", json=body)
            assert reply.status_code == 200, reply.text
            found = reply.json()
            version = str(found["model"]["version"])
            assert found["model"]["digest"] == f"digest-{version}"
            assert found["scores"][0]["reward"] == reward_of(version, response)
            return version

        async with clients(ask) as answers:
            await forced(one, "2")
            assert await ask("after the promotion") == "2"
            await answers.more("2", NUM_CLIENTS)
            await one.registry.rollback("m", CHAMPION, "ops", "worse")
            assert await ask("after the rollback") == "1"
            await answers.more("1", NUM_CLIENTS)
