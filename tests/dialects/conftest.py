from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import get_args

import pytest
import pytest_asyncio

from guerdon_service.app.settings import DialectName
from guerdon_service.core.artifact import ModelSpec
from tests.contract.harness import Served, served

ALL = get_args(DialectName)
PROMPT = "What is the capital of France?"
RESPONSES = ("Paris.", "I do not know", "Lyon, I think.")
SPECS = (ModelSpec("fake", "good"), ModelSpec("double", "double"))

Rewards = Callable[..., Awaitable[list[float]]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[Served]:
    """Every dialect, in the order of the setting."""
    async with served(*SPECS, dialects=ALL) as it:
        yield it


@pytest.fixture
def rewards(running: Served) -> Rewards:
    """What `/v1/score` says."""

    async def ask(
        responses: Sequence[str] = RESPONSES, prompt: str = PROMPT, model: str | None = None
    ) -> list[float]:
        items = [{"prompt": prompt, "response": response} for response in responses]
        reply = await running.rest.post("/v1/score", json={"items": items, "model": model})
        return [score["reward"] for score in reply.json()["scores"]]

    return ask
