"""Scoring with its engine and cache against a pure model of it, over random histories.

The model: a reward is a function of the model and the conversation alone; what was scored is cached for its
tenant until the process ends; what failed is not.
"""

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from numpy.typing import NDArray

from guerdon_service.cache.tiered import open_cache
from guerdon_service.core.artifact import LoadedModel, ModelSpec
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import BackendFailed
from guerdon_service.core.limits import Limits
from guerdon_service.core.ports import ForwardStats, NullObserver
from guerdon_service.core.query import Lane, Options, ScoreQuery
from guerdon_service.core.result import ScoreResult
from guerdon_service.scoring.catalog import Catalog
from guerdon_service.scoring.service import ScoringService
from tests.fakes import CodePointEncoder, WeightedSumBackend, manifest
from tests.redis_server import RedisServer

TEXTS = [f"response number {n}" for n in range(8)]
MODELS = {"one": 1e-4, "two": 2e-4}
LIMITS = Limits(max_batch_tokens=64)

some_texts = st.lists(st.sampled_from(TEXTS), min_size=1, max_size=6)
some_tenant = st.sampled_from(["a", "b"])
some_model = st.sampled_from(sorted(MODELS))
some_lane = st.sampled_from(list(Lane))


class Poisonable(WeightedSumBackend):
    """Raises for a batch that holds a poisoned text, or gives NaN for it."""

    def __init__(self, scale: float, poison: dict[str, str]) -> None:
        super().__init__(scale)
        self._poison = poison

    def forward(self, batch: Sequence[Encoded]) -> tuple[NDArray[np.float32], ForwardStats]:
        scores, stats = super().forward(batch)
        for row, item in enumerate(batch):
            how = self._poison.get("".join(map(chr, item.input_ids[item.prefix_len :])))
            if how == "raise":
                raise RuntimeError("poisoned")
            if how == "nan":
                scores[row] = np.nan
        return scores, stats


def reward(model: str, text: str) -> float:
    """What the pure function gives, through no service at all."""
    encoded = CodePointEncoder().encode(Conversation.of("p", text), "response")
    raw, _ = WeightedSumBackend(MODELS[model]).forward([encoded])
    return float(raw[0, 0])


class Histories(RuleBasedStateMachine):
    """Rules are what callers and the world may do; each score is compared with `reward`."""

    redis_url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.poison: dict[str, str] = {}
        self.cached: set[tuple[str, str, str]] = set()

    @initialize()
    def start(self) -> None:
        self.runner.run(self._start())

    @rule(texts=some_texts, tenant=some_tenant, model=some_model, lane=some_lane)
    def score(self, texts: list[str], tenant: str, model: str, lane: Lane) -> None:
        self.runner.run(self._score(texts, tenant, model, lane))

    @rule(asked=st.lists(st.tuples(some_texts, some_tenant, some_model, some_lane), min_size=2, max_size=5))
    def score_together(self, asked: list[tuple[list[str], str, str, Lane]]) -> None:
        """Equal texts at once share a forward, so whose was cached is not told apart here."""

        async def all_of_them() -> list[Any]:
            calls = (self._ask(*each) for each in asked)
            return await asyncio.gather(*calls, return_exceptions=True)

        for (texts, tenant, model, _), result in zip(asked, self.runner.run(all_of_them()), strict=True):
            self._check(texts, tenant, model, result, None)

    @rule(texts=some_texts, tenant=some_tenant, model=some_model, turns=st.integers(0, 4))
    def leave(self, texts: list[str], tenant: str, model: str, turns: int) -> None:
        """A caller goes away at any moment; what it left may or may not be cached: it is forgotten here."""

        async def begin_and_leave() -> None:
            task = asyncio.ensure_future(self._ask(texts, tenant, model, Lane.INTERACTIVE))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self.runner.run(begin_and_leave())
        self.unsure |= {(tenant, model, text) for text in texts}

    @rule(text=st.sampled_from(TEXTS), how=st.sampled_from(["raise", "nan", ""]))
    def change_poison(self, text: str, how: str) -> None:
        self.poison[text] = how

    @rule(name=some_model)
    def load_again(self, name: str) -> None:
        async def unload_and_load() -> None:
            await self.service.unload_model(name)
            await self.service.load_model(ModelSpec(name, "good"))

        self.runner.run(unload_and_load())

    @rule()
    def restart(self) -> None:
        """A new process: what Redis has of it may or may not have been written in time."""
        self.runner.run(self.service.close())
        self.unsure |= self.cached
        self.cached.clear()
        self.runner.run(self._start())

    @invariant()
    def nothing_waits(self) -> None:
        if hasattr(self, "service"):
            assert self.service.is_ready()

    def teardown(self) -> None:
        if hasattr(self, "service"):
            self.runner.run(self.service.close())
        self.runner.close()

    async def _start(self) -> None:
        def load(spec: ModelSpec) -> LoadedModel:
            backend = Poisonable(MODELS[spec.name], self.poison)
            return LoadedModel(spec, manifest(spec.name), CodePointEncoder(), backend)

        if not hasattr(self, "unsure"):
            self.unsure: set[tuple[str, str, str]] = set()
        observer = NullObserver()
        cache = open_cache(observer, redis_url=self.redis_url, timeout_s=10)
        catalog = Catalog(load, LIMITS, cache, ThreadPoolExecutor(1), observer)
        self.service = ScoringService(catalog, LIMITS, observer)
        for name in MODELS:
            await self.service.load_model(ModelSpec(name, "good"))

    async def _ask(self, texts: list[str], tenant: str, model: str, lane: Lane) -> ScoreResult:
        items = tuple(Conversation.of("p", text) for text in texts)
        return await self.service.score(ScoreQuery(items, Options(model=model, tenant=tenant, lane=lane)))

    async def _score(self, texts: list[str], tenant: str, model: str, lane: Lane) -> None:
        keys = [(tenant, model, text) for text in texts]
        known = [None if key in self.unsure else key in self.cached for key in keys]
        result = (await asyncio.gather(self._ask(texts, tenant, model, lane), return_exceptions=True))[0]
        self._check(texts, tenant, model, result, known)

    def _check(
        self, texts: list[str], tenant: str, model: str, result: Any, known: list[bool | None] | None
    ) -> None:
        keys = {(tenant, model, text) for text in texts}
        may_fail = {key for key in keys if self.poison.get(key[2])} - (self.cached - self.unsure)
        if isinstance(result, BaseException):
            assert isinstance(result, BackendFailed), repr(result)
            assert may_fail
            self.unsure |= keys - self.cached  # the good ones beside a bad one may have been stored
            return
        assert not may_fail - self.unsure, "a poisoned text was answered"
        assert [score.reward for score in result.scores] == [reward(model, text) for text in texts]
        if known is not None:
            for score, was_cached in zip(result.scores, known, strict=True):
                assert was_cached is None or score.cached == was_cached
        self.cached |= keys
        self.unsure -= keys


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def test_every_history_gives_what_the_pure_model_gives(redis: RedisServer) -> None:
    class OnRedis(Histories):
        redis_url = redis.url

        def __init__(self) -> None:
            super().__init__()
            with redis.client() as client:
                client.flushall()

    run_state_machine_as_test(
        OnRedis,
        settings=settings(
            max_examples=25,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
