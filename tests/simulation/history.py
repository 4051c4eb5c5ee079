"""One history: the real scoring service, catalog, engine and cache live through a plan."""

import asyncio
import logging
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from guerdon_service.cache.lru import LruCache
from guerdon_service.cache.tiered import TieredCache
from guerdon_service.core.artifact import LoadedModel, ModelSpec
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import GuerdonError, InvalidInput
from guerdon_service.core.limits import Limits
from guerdon_service.core.ports import NullObserver, Observer
from guerdon_service.core.query import Lane, Options, ScoreQuery
from guerdon_service.core.registry import CHAMPION
from guerdon_service.engine import token_queue, worker
from guerdon_service.engine.engine import Engine, EngineScores
from guerdon_service.scoring import model_scorer
from guerdon_service.scoring.catalog import Catalog
from guerdon_service.scoring.service import ScoringService
from tests.fakes import CodePointEncoder, manifest
from tests.simulation.backend import SimulatedBackend
from tests.simulation.checks import Answer, check_answer
from tests.simulation.fairness import Fairness
from tests.simulation.plan import BROKEN, VERSIONS, Ask, Plan, Promotion, draw_plan
from tests.simulation.primitives import SimulatedLoop, SimulatedThreading
from tests.simulation.world import Stuck, World

MODEL = "m"


@dataclass
class History:
    """One run of one plan."""

    seed: int
    plan: Plan
    world: World
    backends: list[SimulatedBackend] = field(default_factory=list)
    engines: list[Engine] = field(default_factory=list)
    champion: str = VERSIONS[0]
    unloaded: set[str] = field(default_factory=set)
    is_closing: bool = False
    num_answers: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)

    @property
    def violations(self) -> list[str]:
        """Invariants that did not hold."""
        return self.world.violations

    @property
    def verdict(self) -> str:
        """What went wrong first, and how to see it again."""
        if not self.violations:
            return f"history {self.seed}: every invariant holds"
        return f"not so: {self.violations[0]}; replay: GUERDON_SEED={self.seed} python -m tests.simulation"

    async def live(self) -> None:
        """All of it; afterwards nothing is left over."""
        observer = NullObserver()
        cache = TieredCache(LruCache(self.plan.cache_bytes), None, observer)
        catalog = Catalog(self.load, self.plan.limits, cache, _NoPool(), observer)
        service = ScoringService(catalog, self.plan.limits, observer)
        await service.load_model(ModelSpec(MODEL, VERSIONS[0]))
        self.begun_at = self.world.now
        clients = [asyncio.create_task(self._client(service, ask)) for ask in self.plan.asks]
        promoters = [asyncio.create_task(self._promote(catalog, p)) for p in self.plan.promotions]
        if self.plan.close_at_s is None:
            await asyncio.gather(*clients)
        else:
            await asyncio.sleep(self.plan.close_at_s)
        await asyncio.gather(*promoters)
        self.world.note("close")
        self.is_closing = True
        await service.close()
        await asyncio.gather(*clients)
        self._check_end()

    def load(self, spec: ModelSpec) -> LoadedModel:
        """`scoring.catalog.LoadModel`; takes its time, in a thread."""
        self.world.sleep(self.world.random.expovariate(2.0))
        if spec.source == BROKEN:
            raise InvalidInput("source is broken; give a good one", param="source")
        fairness = self.fairness = Fairness(self.world, self.plan.limits.max_batch_tokens)
        backend = SimulatedBackend(self.world, self.plan, spec.source, fairness)
        self.backends.append(backend)
        return LoadedModel(spec, self._manifest(spec.source), CodePointEncoder(), backend)

    async def _client(self, service: ScoringService, ask: Ask) -> None:
        await asyncio.sleep(self.begun_at + ask.at_s - self.world.now)
        task = asyncio.create_task(self._answered(service, ask))
        if ask.cancel_after_s is not None:
            await asyncio.sleep(ask.cancel_after_s)
            task.cancel()
        answer = await task
        self.num_answers += 1
        self.outcomes[answer.kind] = self.outcomes.get(answer.kind, 0) + 1
        self.world.note("answer", ask.number, answer.kind)
        check_answer(self.world, ask, answer)

    async def _answered(self, service: ScoringService, ask: Ask) -> Answer:
        options = Options(deadline_s=ask.deadline_s, lane=ask.lane, tenant=ask.tenant)
        asked_at, version = self.world.now, self.champion
        self.world.note("ask", ask.number, ask.lane, len(ask.items), "items of version", version)
        result: Any
        try:
            result = await service.score(ScoreQuery(ask.items, options))
        except (Exception, asyncio.CancelledError) as error:  # `check_answer` tells what may be
            result = error
        has_died = any(b.has_died for b in self.backends)
        has_hung = any(b.has_hung for b in self.backends)
        may_be_gone = self.is_closing or has_died or has_hung or version in self.unloaded
        return Answer(result, version, asked_at, self.world.now, may_be_gone, has_died, has_hung)

    async def _promote(self, catalog: Catalog, promotion: Promotion) -> None:
        await asyncio.sleep(promotion.at_s)
        version, old = promotion.version, self.champion
        spec = ModelSpec(MODEL, version)
        try:
            await catalog.load_version(spec, version, self._manifest(version).digest)
        except GuerdonError as error:  # broken, being loaded by another promotion, or dead
            self.world.note("no promotion", error.code)
            return
        if not catalog.is_loaded(MODEL, version):
            return
        catalog.point({(MODEL, CHAMPION): version})
        self.champion = version
        self.world.note("promoted", version)
        if promotion.unload_after_s is not None:
            await asyncio.sleep(promotion.unload_after_s)
            await self._unload(catalog, old)

    async def _unload(self, catalog: Catalog, version: str) -> None:
        if version == self.champion:
            return
        self.unloaded.add(version)
        self.world.note("unload", version)
        try:
            await catalog.unload(f"{MODEL}@{version}")
        except GuerdonError as error:  # unloaded already, or promoted again meanwhile
            self.world.note("no unload", error.code)

    def _manifest(self, version: str) -> Any:
        return manifest(MODEL, version=version, digest=f"digest-{version}")

    def _check_end(self) -> None:
        require = self.world.require
        require(self.num_answers == len(self.plan.asks), "one answer for each request")
        require(all(b.is_closed or b.has_hung for b in self.backends), "every back end is closed in the end")
        require(asyncio.all_tasks() == {asyncio.current_task()}, "no task is left")
        for engine in self.engines:
            require((engine._queue.num_items, engine._queue.num_tokens) == (0, 0), "nothing is left queued")
            require(not engine._in_flight, "nothing is left in flight")


def run_history(seed: int) -> History:
    """Live through the history of `seed`; look at its `violations`."""
    history = History(seed, draw_plan(random.Random(seed)), World(seed))
    history.world.hiccup_share = history.plan.hiccup_share
    loop = SimulatedLoop(history.world)
    try:
        with simulated(history):
            loop.run_until_complete(history.live())
    except Stuck as stuck:
        history.world.require(False, str(stuck))
    finally:
        for task in asyncio.all_tasks(loop):  # of a history that got stuck; nobody else should hear of them
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        loop.close()
    return history


@contextmanager
def simulated(history: History) -> Iterator[None]:
    """Within, the service's clocks and threads are those of the history's world."""

    class WatchedEngine(Engine):
        def __init__(self, model: str, backend: Any, limits: Limits, observer: Observer) -> None:
            super().__init__(model, backend, limits, observer, history.world.clock)
            self._fairness: Fairness = backend._fairness
            self._fairness.is_queued = self._is_queued
            history.engines.append(self)

        async def score(
            self, encoded: Sequence[Encoded], keys: Sequence[bytes], *, lane: Lane, **given: Any
        ) -> EngineScores:
            waiting = self._fairness.enter(encoded, keys, lane, given.get("tenant", ""))
            try:
                return await super().score(encoded, keys, lane=lane, **given)
            finally:
                self._fairness.leave(waiting)

        def _is_queued(self, key: bytes) -> bool:
            pending = self._in_flight.get(key)
            return pending is not None and pending.counted

    threads = SimulatedThreading(history.world)
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with ExitStack() as stack:
            stack.enter_context(patch.object(time, "monotonic", history.world.clock))
            stack.enter_context(patch.object(model_scorer, "Engine", WatchedEngine))
            for module in (token_queue, worker):
                stack.enter_context(patch.object(module, "threading", threads))
            yield
    finally:
        logging.disable(disabled)


class _NoPool(Executor):
    """The simulated loop runs everything in threads of the world."""
