"""The domain layer with its calls under way known, so that a stopping service can wait for them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from guerdon_service.app.logs import logged_request
from guerdon_service.core.artifact import ModelInfo, ModelSpec
from guerdon_service.core.errors import NotReady
from guerdon_service.core.manifest import Manifest
from guerdon_service.core.query import CompareQuery, Options, RankQuery, ScoreQuery
from guerdon_service.core.result import CompareResult, RankResult, ScoreResult
from guerdon_service.core.scorer import Scorer


class InFlight:
    """A `Scorer` around another; log lines of a call carry its request id. For one event loop."""

    def __init__(self, service: Scorer) -> None:
        self._service = service
        self._tasks: set[asyncio.Task[Any]] = set()
        self._abandoned = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def idle(self) -> None:
        """Return once no call is under way."""
        await self._idle.wait()

    def abandon(self) -> None:
        """End every call under way with `NotReady`, so that even those callers get an answer."""
        self._abandoned = True
        for task in self._tasks:
            task.cancel()

    async def score(self, query: ScoreQuery) -> ScoreResult:
        """Known to `idle` and `abandon`."""
        with self._call(query.options):
            return await self._service.score(query)

    async def compare(self, query: CompareQuery) -> CompareResult:
        """Known to `idle` and `abandon`."""
        with self._call(query.options):
            return await self._service.compare(query)

    async def rank(self, query: RankQuery) -> RankResult:
        """Known to `idle` and `abandon`."""
        with self._call(query.options):
            return await self._service.rank(query)

    def models(self) -> tuple[ModelInfo, ...]:
        """Passed on."""
        return self._service.models()

    def model(self, name: str) -> ModelInfo:
        """Passed on."""
        return self._service.model(name)

    def manifest(self, name: str) -> Manifest:
        """Passed on."""
        return self._service.manifest(name)

    async def load_model(self, spec: ModelSpec) -> ModelInfo:
        """Passed on; a stopping service does not wait for it."""
        return await self._service.load_model(spec)

    async def unload_model(self, name: str) -> None:
        """Passed on."""
        await self._service.unload_model(name)

    def is_ready(self) -> bool:
        """Passed on."""
        return self._service.is_ready()

    def unready_reason(self) -> str:
        """Passed on."""
        return self._service.unready_reason()

    def begin_drain(self) -> None:
        """Passed on."""
        self._service.begin_drain()

    async def close(self) -> None:
        """Passed on."""
        await self._service.close()

    @contextmanager
    def _call(self, options: Options) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._idle.clear()
        try:
            with logged_request(options.request_id):
                yield
        except asyncio.CancelledError:
            if not self._abandoned:
                raise
            task.uncancel()
            raise NotReady("the service stopped first; ask another replica", retry_after_ms=1000) from None
        finally:
            self._tasks.remove(task)
            if not self._tasks:
                self._idle.set()
