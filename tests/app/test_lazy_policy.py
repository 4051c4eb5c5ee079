"""The default policy: not loaded before it is asked, then once."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Sequence

import numpy as np
import pytest

from guerdon_service.app.lazy_policy import LazyPolicy, default_policy
from guerdon_service.app.settings import Settings
from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.generation import Generated, LogProbs, Policy, SamplingParams, TokenLogProbs

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


async def test_it_says_how_likely_responses_are_once_it_is_loaded() -> None:
    class Telling(Echo):
        async def logprobs(
            self, prompt: tuple[Message, ...], responses: Sequence[Generated]
        ) -> list[TokenLogProbs]:
            return [TokenLogProbs((g.index,), np.array([-1.0])) for g in responses]

    policy = LazyPolicy("echo", Telling)
    assert isinstance(policy, LogProbs)
    (found,) = await policy.logprobs(PROMPT, [Generated(7, "p", 1, "stop")])
    assert (found.ids, found.values.tolist()) == ((7,), [-1.0])
    await policy.close()


async def test_callers_who_leave_do_not_make_it_load_anew() -> None:
    """Deadlines that are shorter than the load must not keep it from ever ending."""
    begun, go_on, echo = asyncio.Event(), threading.Event(), Echo()
    loop, num_begun = asyncio.get_running_loop(), 0

    def load() -> Policy:
        nonlocal num_begun
        num_begun += 1
        loop.call_soon_threadsafe(begun.set)
        go_on.wait()
        return echo

    policy = LazyPolicy("echo", load)
    first = asyncio.create_task(sampled(policy))
    await begun.wait()
    first.cancel()
    await asyncio.wait([first])
    second = asyncio.create_task(sampled(policy))
    go_on.set()
    assert await second == [0, 1]
    assert (first.cancelled(), num_begun) == (True, 1)
    await policy.close()
    assert echo.num_closed == 1


async def test_closing_during_the_load_closes_what_it_gives() -> None:
    begun, go_on, echo = threading.Event(), threading.Event(), Echo()

    def load() -> Policy:
        begun.set()
        go_on.wait()
        return echo

    policy = LazyPolicy("echo", load)
    asking = asyncio.create_task(sampled(policy))
    await asyncio.to_thread(begun.wait)
    asking.cancel()
    closing = asyncio.create_task(policy.close())
    go_on.set()
    await closing
    assert echo.num_closed == 1


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
