"""The default policy: not loaded before it is asked, then once."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from guerdon_service.app.lazy_policy import LazyPolicy, default_policy
from guerdon_service.app.settings import Settings
from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.generation import Generated, Policy, SamplingParams

PROMPT = (Message("user", "p"),)


class Echo:
    """A policy that counts its closings."""

    name, digest = "echo", "d" * 64

    def __init__(self) -> None:
        self.num_closed = 0

    async def generate(
        self, prompt: tuple[Message, ...], n: int, params: SamplingParams
    ) -> AsyncGenerator[Generated]:
        for index in range(n):
            yield Generated(index, prompt[0].content, 1, "stop")

    async def close(self) -> None:
        self.num_closed += 1


async def sampled(policy: LazyPolicy) -> list[int]:
    return [g.index async for g in policy.generate(PROMPT, 2, SamplingParams())]


async def test_it_is_loaded_once_and_when_first_asked() -> None:
    loaded: list[Echo] = []

    def load() -> Policy:
        loaded.append(Echo())
        return loaded[-1]

    policy = LazyPolicy("echo", load)
    assert (policy.digest, loaded) == ("", [])
    assert await asyncio.gather(*(sampled(policy) for _ in range(3))) == [[0, 1]] * 3
    assert (policy.digest, len(loaded)) == ("d" * 64, 1)
    await policy.close()
    assert loaded[0].num_closed == 1


async def test_a_failed_load_is_told_and_tried_again() -> None:
    answers: list[Policy | InvalidInput] = [InvalidInput("the package is missing"), Echo()]

    def load() -> Policy:
        answer = answers.pop(0)
        if isinstance(answer, InvalidInput):
            raise answer
        return answer

    policy = LazyPolicy("echo", load)
    with pytest.raises(InvalidInput, match="package"):
        await sampled(policy)
    assert await sampled(policy) == [0, 1]


async def test_closing_one_that_was_never_asked_loads_nothing() -> None:
    policy = default_policy(Settings())
    assert policy.name == "smollm2"
    await policy.close()
    assert policy.digest == ""
