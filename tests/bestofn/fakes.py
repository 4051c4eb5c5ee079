"""Policies that say what they are told, and a query of the fake model."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np

from guerdon_service.bestofn.service import BestOfNService
from guerdon_service.core.best_of_n import BestOfNQuery, BestOfNResult, ScoredCandidate
from guerdon_service.core.conversation import Message
from guerdon_service.core.generation import Generated, Policy, SamplingParams
from guerdon_service.core.limits import Limits
from guerdon_service.core.scorer import Scorer

PROMPT = (Message("user", "say"),)


class Scripted:
    """Yields `script` in its order: a text with its index, an error to raise, or an event to wait for."""

    name, digest = "p", "digest"

    def __init__(self, *script: tuple[int, str] | Exception | asyncio.Event) -> None:
        self.script = script
        self.closed = False
        self.stopped = asyncio.Event()
        """Set when the iterator ended or was closed."""
        self.asked: list[tuple[int, SamplingParams]] = []

    async def generate(
        self, prompt: tuple[Message, ...], n: int, params: SamplingParams
    ) -> AsyncIterator[Generated]:
        self.asked.append((n, params))
        try:
            for step in self.script:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, asyncio.Event):
                    await step.wait()
                else:
                    yield Generated(step[0], step[1], len(step[1]), "stop")
        finally:
            self.stopped.set()

    async def close(self) -> None:
        self.closed = True


class Categorical:
    """Draws one of K answers; candidate i of a seed is a function of (seed, i)."""

    name, digest = "p", "digest"

    def __init__(self, answers: Sequence[str], probabilities: Sequence[float]) -> None:
        self.answers = answers
        self.probabilities = np.asarray(probabilities)

    async def generate(
        self, prompt: tuple[Message, ...], n: int, params: SamplingParams
    ) -> AsyncIterator[Generated]:
        for i in range(n):
            k = np.random.default_rng([params.seed, i]).choice(len(self.answers), p=self.probabilities)
            yield Generated(i, self.answers[k], 1, "stop")

    async def close(self) -> None:
        pass


def listed(*texts: str) -> Scripted:
    """One response after the other."""
    return Scripted(*enumerate(texts))


def query(n: int, *, seed: int = 0, **fields: Any) -> BestOfNQuery:
    """Of the policy ``p``."""
    return BestOfNQuery("p", PROMPT, n, SamplingParams(seed=seed), **fields)


def best_of_n(scorer: Scorer, policy: Policy) -> BestOfNService:
    return BestOfNService(scorer, [policy], Limits())


async def parts(service: BestOfNService, asked: BestOfNQuery) -> tuple[list[ScoredCandidate], BestOfNResult]:
    """Everything that a stream gave."""
    candidates: list[ScoredCandidate] = []
    async for part in service.stream(asked):
        if isinstance(part, BestOfNResult):
            return candidates, part
        candidates.append(part)
    raise AssertionError("no result")
