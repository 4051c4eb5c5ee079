"""Who waits for the tokenizers: requests in turns, and none past its deadline."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from guerdon_service.cache.tiered import open_cache
from guerdon_service.core.artifact import LoadedModel, ModelSpec
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import DeadlineExceeded, Overloaded
from guerdon_service.core.limits import Limits
from guerdon_service.core.ports import NullObserver
from guerdon_service.core.query import Lane, Options, ScoreQuery
from guerdon_service.scoring import model_scorer
from guerdon_service.scoring.catalog import Catalog
from guerdon_service.scoring.model_scorer import ENCODE_CHUNK
from guerdon_service.scoring.service import ScoringService
from tests.fakes import CodePointEncoder, WeightedSumBackend, load_fake

CHUNKS = 10


class HeldEncoder(CodePointEncoder):
    """Notes what it is asked; the first waits until it is let go."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.is_there, self.go_on = threading.Event(), threading.Event()

    def encode(self, conversation: Conversation, param: str) -> Encoded:
        self.asked.append(conversation.response)
        self.is_there.set()
        assert self.go_on.wait(30)
        return super().encode(conversation, param)


class CountingPool(ThreadPoolExecutor):
    """Knows how many tasks it has that are not done, and had at most."""

    def __init__(self) -> None:
        super().__init__(1)
        self.num_submitted, self.most = 0, 0
        self._undone: set[Future[Any]] = set()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done = super().submit(fn, *args, **kwargs)
        self._undone = {task for task in self._undone if not task.done()} | {done}
        self.num_submitted, self.most = self.num_submitted + 1, max(self.most, len(self._undone))
        return done


@asynccontextmanager
async def held(
    backend: WeightedSumBackend | None = None, limits: Limits | None = None
) -> AsyncIterator[tuple[ScoringService, HeldEncoder, CountingPool]]:
    encoder, pool, observer, limits = HeldEncoder(), CountingPool(), NullObserver(), limits or Limits()

    def load(spec: ModelSpec) -> LoadedModel:
        return replace(load_fake(spec), encoder=encoder, backend=backend or WeightedSumBackend())

    catalog = Catalog(load, limits, open_cache(observer), pool, observer)
    service = ScoringService(catalog, limits, observer)
    await service.load_model(ModelSpec("fake", "good"))
    try:
        yield service, encoder, pool
    finally:
        encoder.go_on.set()
        await service.close()


def query(*responses: str, **options: Any) -> ScoreQuery:
    return ScoreQuery(tuple(Conversation.of("why?", r) for r in responses), Options(**options))


async def test_chunks_of_a_long_request_and_a_short_one_take_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model_scorer, "ENCODE_THREADS", 1)
    async with held() as (service, encoder, pool):
        responses = [f"bulk {n}" for n in range(CHUNKS * ENCODE_CHUNK)]
        bulk = asyncio.create_task(service.score(query(*responses, lane=Lane.BULK)))
        assert await asyncio.to_thread(encoder.is_there.wait, 30)
        short = asyncio.create_task(service.score(query("short")))
        while pool.num_submitted < 2:
            await asyncio.sleep(0)
        encoder.go_on.set()
        scored, _ = await asyncio.gather(bulk, short)
        assert encoder.asked.index("short") == ENCODE_CHUNK, "one chunk was before it, of ten"
        assert [r for r in encoder.asked if r != "short"] == responses and len(scored.scores) == len(
            responses
        )
        assert (pool.num_submitted, pool.most) == (CHUNKS + 1, 2)


async def test_token_ids_are_asked_for_up_to_a_deadline() -> None:
    async with held() as (service, encoder, _):
        with pytest.raises(DeadlineExceeded) as late:
            await service.token_ids(query("first", deadline_s=0.05))
        assert late.value.param == "deadline_ms"
        encoder.go_on.set()
        assert await service.token_ids(query("a")) == (tuple(map(ord, "why?a")),)


async def test_token_ids_of_what_there_is_no_room_for_are_refused_before_it_is_tokenized() -> None:
    release = threading.Event()
    backend = WeightedSumBackend(before=lambda: release.wait(30))
    async with held(backend, Limits(max_queued_tokens=4)) as (service, encoder, _):
        encoder.go_on.set()
        engine = service.catalog.resolve("fake").ready_scorer().engine
        asked = [asyncio.create_task(service.score(query("first")))]
        while not backend.num_forwards:
            await asyncio.sleep(0)
        asked.append(asyncio.create_task(service.score(query("second"))))  # an empty queue takes any size
        while not engine.state()["queued_items"]:
            await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await service.token_ids(query("third"))
        assert encoder.asked == ["first", "second"]
        release.set()
        await asyncio.gather(*asked)
