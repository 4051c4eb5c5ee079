"""The domain layer's faces with every call known to an `InFlight`. Each method passes its call on."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from guerdon_service.app.inflight import InFlight
from guerdon_service.core.artifact import ModelInfo, ModelSpec
from guerdon_service.core.best_of_n import BestOfN, BestOfNQuery, BestOfNResult, ScoredCandidate
from guerdon_service.core.evaluation import Evaluation, EvaluationQuery, Evaluator
from guerdon_service.core.feedback import Feedback, FeedbackTaker
from guerdon_service.core.manifest import Manifest
from guerdon_service.core.query import CompareQuery, RankQuery, ScoreQuery
from guerdon_service.core.registry import AliasChange, ModelHistory, ModelVersion, PromoteQuery, Registrar
from guerdon_service.core.result import CompareResult, RankResult, ScoreResult
from guerdon_service.core.scorer import Scorer
from guerdon_service.core.services import Services
from guerdon_service.core.streams import closed_after


def tracked(services: Services, calls: InFlight) -> Services:
    """`services` whose calls `calls` counts, and refuses while it drains."""
    return Services(
        _Scorer(services.scorer, calls),
        _BestOfN(services.best_of_n, calls),
        _Evaluator(services.evaluator, calls),
        _Registrar(services.registrar, calls),
        _FeedbackTaker(services.feedback, calls),
    )


@dataclass(frozen=True, slots=True)
class _Scorer:
    inner: Scorer
    calls: InFlight

    async def score(self, query: ScoreQuery) -> ScoreResult:
        with self.calls.call(query.options.request_id):
            return await self.inner.score(query)

    async def compare(self, query: CompareQuery) -> CompareResult:
        with self.calls.call(query.options.request_id):
            return await self.inner.compare(query)

    async def rank(self, query: RankQuery) -> RankResult:
        with self.calls.call(query.options.request_id):
            return await self.inner.rank(query)

    async def token_ids(self, query: ScoreQuery) -> tuple[tuple[int, ...], ...]:
        with self.calls.call(query.options.request_id):
            return await self.inner.token_ids(query)

    def models(self) -> tuple[ModelInfo, ...]:
        return self.inner.models()

    def model(self, name: str) -> ModelInfo:
        return self.inner.model(name)

    def manifest(self, name: str) -> Manifest:
        return self.inner.manifest(name)

    async def unload_model(self, name: str) -> None:
        await self.inner.unload_model(name)

    def is_ready(self) -> bool:
        return not self.unready_reason()

    def unready_reason(self) -> str:
        return "the service is draining" if self.calls.is_draining else self.inner.unready_reason()

    def begin_drain(self) -> None:
        self.calls.begin_drain()

    async def close(self) -> None:
        await self.inner.close()


@dataclass(frozen=True, slots=True)
class _BestOfN:
    inner: BestOfN
    calls: InFlight

    async def stream(self, query: BestOfNQuery) -> AsyncGenerator[ScoredCandidate | BestOfNResult]:
        with self.calls.call(query.options.request_id):
            async with closed_after(self.inner.stream(query)) as parts:
                async for part in parts:
                    yield part

    async def run(self, query: BestOfNQuery) -> BestOfNResult:
        with self.calls.call(query.options.request_id):
            return await self.inner.run(query)

    def policies(self) -> tuple[str, ...]:
        return self.inner.policies()


@dataclass(frozen=True, slots=True)
class _Evaluator:
    inner: Evaluator
    calls: InFlight

    async def start(self, query: EvaluationQuery) -> Evaluation:
        with self.calls.call():
            return await self.inner.start(query)

    async def get(self, evaluation_id: str) -> Evaluation:
        with self.calls.call():
            return await self.inner.get(evaluation_id)

    async def all(self) -> tuple[Evaluation, ...]:
        with self.calls.call():
            return await self.inner.all()

    async def follow(self, evaluation_id: str) -> AsyncGenerator[Evaluation]:
        with self.calls.call(follows=True):
            async with closed_after(self.inner.follow(evaluation_id)) as states:
                async for state in states:
                    yield state

    async def cancel(self, evaluation_id: str) -> Evaluation:
        with self.calls.call():
            return await self.inner.cancel(evaluation_id)

    async def report_html(self, evaluation_id: str) -> str:
        with self.calls.call():
            return await self.inner.report_html(evaluation_id)


@dataclass(frozen=True, slots=True)
class _Registrar:
    inner: Registrar
    calls: InFlight

    async def load(self, spec: ModelSpec, by: str) -> ModelInfo:
        return await self.inner.load(spec, by)  # a stopping service does not wait for it

    async def register(self, name: str, source: str, by: str) -> ModelVersion:
        return await self.inner.register(name, source, by)  # a stopping service does not wait for it

    async def history(self, name: str) -> ModelHistory:
        with self.calls.call():
            return await self.inner.history(name)

    async def promote(self, query: PromoteQuery) -> AliasChange:
        with self.calls.call():
            return await self.inner.promote(query)

    async def rollback(self, name: str, alias: str, by: str, reason: str) -> AliasChange:
        with self.calls.call():
            return await self.inner.rollback(name, alias, by, reason)


@dataclass(frozen=True, slots=True)
class _FeedbackTaker:
    inner: FeedbackTaker
    calls: InFlight

    async def submit(self, feedback: Feedback) -> Feedback:
        with self.calls.call():
            return await self.inner.submit(feedback)
